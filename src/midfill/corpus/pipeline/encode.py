"""Documents to tokens: cut to length, rearranged for fill-in-the-middle, encoded once per epoch.

What comes of a document depends on its text, its name, the seed and the epoch only. Tokens of a
part lie in one file, from which `merge.py` takes them in the final order.
"""

import functools
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.documents import FimConfig
from midfill.corpus.documents import JOINT, Training
from midfill.errors import ConfigError
from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.holes import SHORTEST, Encode, Ids, rearranged, source_of_chance
from midfill.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The tokens of one document."""

    id: str  # repository, and path of its first file
    repo: str
    ids: Ids  # bos, the document, eos
    bytes: int  # of its text
    language: str | None  # of most of its text
    paths: tuple[str, ...]  # of its files
    file_starts: tuple[int, ...]  # the token that begins each; of one with a hole only the first
    holes: bool  # whether it was rearranged


_MARKS = 5  # begin, end, and three of the hole


class Encoder:
    """Encodes documents with one tokenizer; not shared between processes."""

    def __init__(
        self, tokenizer: Tokenizer, fim: FimConfig, *, most_tokens: int, seed: int
    ) -> None:
        if tokenizer.eos_id is None:
            raise ConfigError(
                "the tokenizer has no end token",
                why="documents follow each other in a shard and are told apart by it",
                fix="name eos_token in tokenizer_config.json, or let the build train a tokenizer",
            )
        if fim.rate and tokenizer.fim is None:
            raise ConfigError(
                f"fim.rate is {fim.rate}, and the tokenizer has no FIM tokens",
                why="holes are marked by tokens such as <｜fim▁hole｜>",
                fix="set fim.rate to 0, or take a tokenizer with FIM tokens",
            )
        self._encode: Encode = FastEncoder(tokenizer).encode
        self._tokenizer, self._fim, self._seed = tokenizer, fim, seed
        self._most = most_tokens
        self._begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        self._end = [tokenizer.eos_id]

    def encode(
        self, documents: Iterable[Training], epoch: int, wanted: Container[str] | None = None
    ) -> Iterator[Encoded]:
        """The tokens of each document, of one that was too long those of its parts.

        `wanted` are the names of those to encode; None: all.
        """
        for document in documents:
            for first, pieces in self._cut(document):
                name = f"{document.repo}:{document.paths[first]}"
                if wanted is not None and name not in wanted:
                    continue
                text = JOINT.join(pieces)
                ids, holes = self._ids(text, name, epoch)
                starts = [0] if holes else self._starts(ids, pieces)
                yield Encoded(
                    id=name,
                    repo=document.repo,
                    ids=np.concatenate([self._begin, ids, self._end]).astype(np.uint32),
                    bytes=len(text.encode("utf-8", "surrogatepass")),
                    language=_most(document.languages[first : first + len(pieces)], pieces),
                    paths=document.paths[first : first + len(pieces)],
                    file_starts=tuple(len(self._begin) + start for start in starts),
                    holes=holes,
                )

    def _cut(self, document: Training) -> Iterator[tuple[int, Sequence[str]]]:
        """Runs of whole files that fit the longest document; a longer file stays whole.

        No token is empty, so text of no more bytes than tokens are allowed needs no counting.
        """
        pieces = document.pieces
        room = self._most - _MARKS
        bytes_ = sum(len(piece.encode()) + len(JOINT) for piece in pieces)
        if bytes_ <= room or len(pieces) == 1:
            yield 0, pieces
            return
        first, size = 0, 0
        for i, piece in enumerate(pieces):
            tokens = len(self._encode(piece)) + len(JOINT)
            if i > first and size + tokens > room:
                yield first, pieces[first:i]
                first, size = i, 0
            size += tokens
        yield first, pieces[first:]

    @functools.cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """Bytes of each token."""
        token_bytes = self._tokenizer.token_bytes
        return np.array([len(token_bytes(i)) for i in range(self._tokenizer.rows)], np.int64)

    def _starts(self, ids: Ids, pieces: Sequence[str]) -> list[int]:
        """The token that holds the first byte of each file."""
        if len(pieces) == 1:
            return [0]
        sizes = [len(piece.encode()) + len(JOINT) for piece in pieces[:-1]]
        ends = np.cumsum(self._sizes[ids])  # behind each token, in bytes
        return [0, *np.searchsorted(ends, np.cumsum(sizes), side="right").tolist()]

    def _ids(self, text: str, name: str, epoch: int) -> tuple[Ids, bool]:
        fim, tokens = self._fim, self._tokenizer.fim
        chance = source_of_chance(self._seed, name, epoch)
        if tokens is None or len(text) < SHORTEST or chance.random() >= fim.rate:
            return self._encode(text), False
        spm = chance.random() < fim.spm_rate
        return rearranged(text, self._encode, tokens, split=fim.split, spm=spm, chance=chance), True


def _most(languages: Sequence[str | None], pieces: Sequence[str]) -> str | None:
    """The language of most of the text; among equals the first by name."""
    sizes: Counter[str | None] = Counter()
    for language, piece in zip(languages, pieces, strict=True):
        sizes[language] += len(piece)
    return min(sizes, key=lambda language: (-sizes[language], language or ""))
