"""Texts of a corpus build: the documents of its token shards, decoded, with their files.

Shards and the tokenizer beside them are what a user keeps of a build, so nothing else is read. Which
repository a document came from is not in them; the path of a file is, in the comment above it.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.languages import LANGUAGES, OUTSIDE, comment, detect
from midfill.corpus.shards import Shard, TokenShards
from midfill.errors import CorpusError
from midfill.tokenizer.holes import undone
from midfill.tokenizer.tokenizer import Tokenizer

UNKNOWN = "other"  # the language of prose, and of a file without a path comment


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a document; its path comment is part of its text."""

    path: str  # empty where there is no path comment
    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusText:
    """One training document."""

    files: tuple[SourceFile, ...]  # which joined are the text
    tokens: int  # in the build's own tokenizer, begin and end included

    @property
    def text(self) -> str:
        """The whole document."""
        return "".join(file.text for file in self.files)

    @property
    def language(self) -> str:
        """That of most of its text."""
        sizes: dict[str, int] = {}
        for file in self.files:
            sizes[file.language] = sizes.get(file.language, 0) + len(file.text)
        return max(sizes, key=lambda name: (sizes[name], name), default=UNKNOWN)


def is_build(path: Path) -> bool:
    """Whether token shards lie in a folder, or in its folder `shards`."""
    return any((folder / "index.json").is_file() for folder in (path, path / "shards"))


class CorpusTexts:
    """The documents of a build, or of its folder of shards. Raises CorpusError."""

    def __init__(self, path: Path) -> None:
        self.shards = TokenShards.open(path)
        folder = self.shards.folder.parent / "tokenizer"
        if not folder.is_dir():
            raise CorpusError(
                f"there is no tokenizer beside {self.shards.folder}",
                why="its token ids cannot become text again",
                fix=f"keep the folder {folder} that the build wrote",
            )
        self._tokenizer = Tokenizer.from_folder(folder)

    @property
    def digest(self) -> str:
        """SHA-256 of all shards."""
        return self.shards.index["digest"]

    def tokens(self, split: str) -> int:
        """How many there are in a split."""
        return sum(shard.tokens for shard in self.shards.shards(split))

    def documents(self, split: str, *, with_holes: bool = True) -> Iterator[CorpusText]:
        """The documents of a split, one at a time.

        A document with a hole is closed again and counts as one file, or, unless wanted, is left out.
        """
        for shard in self.shards.shards(split):
            ids, files = self.shards.ids(shard), self._file_starts(shard)
            borders = [*self.shards.starts(shard).tolist(), shard.tokens]
            for start, end in itertools.pairwise(borders):
                low, high = np.searchsorted(files, [start, end])
                one = self._text(ids[start:end], files[low:high] - start, with_holes)
                if one is not None:
                    yield one

    def _file_starts(self, shard: Shard) -> NDArray[np.int64]:
        """Where files begin in a shard, in tokens; none where the build did not write it down."""
        path = self.shards.folder / f"{shard.name}.files.bin"
        return np.fromfile(path, "<u8").astype(np.int64) if path.is_file() else np.empty(0, int)

    def _text(
        self, document: NDArray[Any], files: NDArray[np.int64], with_holes: bool
    ) -> CorpusText | None:
        ids, fim = document.tolist(), self._tokenizer.fim
        first = int(ids[:1] == [self._tokenizer.bos_id])
        last = len(ids) - int(len(ids) > first and ids[-1] == self._tokenizer.eos_id)
        parts = undone(ids[first:last], fim) if fim else None
        if parts is not None:
            closed = self._decoded(list(itertools.chain(*parts)))
            return CorpusText(files=(_file(closed),), tokens=len(ids)) if with_holes else None
        borders = [first, *(int(start) for start in files[1:]), last]
        texts = (self._decoded(ids[a:b]) for a, b in itertools.pairwise(borders))
        return CorpusText(files=tuple(_file(text) for text in texts), tokens=len(ids))

    def _decoded(self, ids: list[int]) -> str:
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", "replace")

    @functools.cached_property
    def _bytes(self) -> list[bytes]:
        return [self._tokenizer.token_bytes(i) for i in range(self._tokenizer.rows)]


def _file(text: str) -> SourceFile:
    first, _, rest = text.partition("\n")
    path, language = path_of(first, rest)
    return SourceFile(path=path, language=language, text=text)


def path_of(line: str, text: str) -> tuple[str, str]:
    """Path and language that a path comment names; empty and UNKNOWN for any other line.

    `text` is what stands below, which decides where several languages share an extension.
    """
    for start, end in _marks():
        if line.startswith(start) and line.endswith(end) and len(line) > len(start) + len(end):
            path = line[len(start) : len(line) - len(end)].strip()
            found = detect(path, text)
            language = found.language or found.outside
            if language and comment(language, path) == line:
                return path, language
    return "", UNKNOWN


@functools.cache
def _marks() -> list[tuple[str, str]]:
    """Beginnings and ends of a comment of one line, the longest first."""
    marks = {("#", "")}
    for known in (*LANGUAGES.values(), *OUTSIDE.values()):
        if known.line_comment is not None:
            marks.add((known.line_comment, ""))
        elif known.block_comment is not None:
            marks.add(known.block_comment)
    return sorted(marks, key=lambda pair: (-len(pair[0]) - len(pair[1]), pair))
