"""One source of sequences: its documents, how they are dealt, and its blocks, made when wanted."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.documents import FimConfig
from midfill.config.train import DataConfig
from midfill.corpus.shards import TokenShards
from midfill.errors import ConfigError, CorpusError
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data.block import Block
from midfill.train.data.chance import shuffled
from midfill.train.data.deal import Deal
from midfill.train.data.documents import Documents, damaged
from midfill.train.data.holes import MARKS, Holes, carry_holes

Numbers = NDArray[np.int64]


class Source:
    """Source `number` of a configuration. Raises ConfigError and CorpusError.

    Keeps the `kept` blocks that were wanted last.
    """

    def __init__(
        self, number: int, config: DataConfig, tokenizer: Tokenizer, *, seed: int, kept: int
    ) -> None:
        self.config = config.sources[number]
        self.shards = TokenShards.open(Path(self.config.path))
        self.shards.check()
        self._length, self._rows = config.length, tokenizer.rows
        self._documents = Documents(self.shards, "train")
        self._chosen = self._long_enough(self._documents)
        if not len(self._chosen):
            raise _too_short(self.shards, self.config.least_tokens, self._documents)
        self.fim = self._resolved(config.fim, tokenizer)
        self._holes = Holes(tokenizer, self.fim, seed) if self.fim.rate else None
        self._key = (seed, number)
        self._deal = Deal(
            self._documents.tokens[self._chosen],
            length=config.length,
            block_tokens=config.block_tokens,
            added=MARKS * self.fim.rate,
            key=self._key,
        )
        self._kept, self._blocks = kept, OrderedDict[tuple[int, int], Block]()

    @property
    def sequences(self) -> int:
        """Sequences of an epoch."""
        return self._deal.sequences

    def places(self, numbers: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Epoch, block and row of each sequence, counted from the beginning of the run."""
        return self._deal.places(numbers)

    def block(self, epoch: int, number: int) -> Block:
        """A block as it is in an epoch, made or kept."""
        found = self._blocks.pop((epoch, number), None) or self.make(epoch, number)
        self._blocks[epoch, number] = found
        while len(self._blocks) > self._kept:
            self._blocks.popitem(last=False)
        return found

    def make(self, epoch: int, number: int) -> Block:
        """A block as it is in an epoch. CorpusError where the shards hold what is no token."""
        documents = []
        for document in self._chosen[self._deal.documents(number, epoch)].tolist():
            ids = self._documents.ids(document)
            self._check(ids)
            if self._holes is not None:
                ids = self._holes.made(ids, f"{self._key[1]}:{document}", epoch)
            documents.append(ids)
        return Block.pack(documents, self._deal.rows(number, epoch), self._length)

    def plain(self, most: int) -> NDArray[Any]:
        """About the first `most` tokens of the first epoch, documents as they are on disk."""
        ids: list[NDArray[Any]] = []
        for block in range(len(self._deal.counts)):
            if sum(map(len, ids)) >= most:
                break
            chosen = self._chosen[self._deal.documents(block, 0)]
            ids.append(np.concatenate([self._documents.ids(number) for number in chosen.tolist()]))
        return np.concatenate(ids)[:most]

    def held_out(self, sequences: int, length: int) -> Block | None:
        """At most so many sequences of the held-out split; None where it has not enough for one.

        Documents are as they are on disk, in an order that is the same in all runs.
        """
        documents = Documents(self.shards, "held_out")
        chosen = self._long_enough(documents)
        order = chosen[shuffled(len(chosen), "held out")]
        ends = np.cumsum(documents.tokens[order])
        sequences = min(sequences, (int(ends[-1]) - 1) // length) if len(ends) else 0
        if not sequences:
            return None
        enough = int(np.searchsorted(ends, sequences * length + 1)) + 1
        ids = [documents.ids(number) for number in order[:enough].tolist()]
        for one in ids:
            self._check(one)
        return Block.pack(ids, np.arange(sequences), length)

    def digests(self) -> Iterator[str]:
        """The SHA-256 of the ids and of the starts of every shard."""
        for split in ("train", "held_out"):
            for shard in self.shards.shards(split):
                yield from (shard.sha256, shard.starts_sha256)

    def _long_enough(self, documents: Documents) -> Numbers:
        return np.flatnonzero(documents.tokens >= max(1, self.config.least_tokens))

    def _check(self, ids: NDArray[np.uint32]) -> None:
        """An id beyond the vocabulary would end the run on a device, without a word why."""
        if int(ids.max()) >= self._rows:
            raise damaged(
                self.shards, f"it has the id {ids.max()}, and the vocabulary {self._rows}"
            )

    def _resolved(self, asked: FimConfig | None, tokenizer: Tokenizer) -> FimConfig:
        """What is done to this source's documents."""
        nothing = FimConfig(rate=0.0)
        if tokenizer.fim is None:
            if asked is None or not asked.rate:
                return nothing
            raise ConfigError(
                f"data.fim.rate is {asked.rate}, and the tokenizer has no FIM tokens",
                why="holes are marked by tokens such as <｜fim▁hole｜>",
                fix="set data.fim.rate to 0, or take a tokenizer with FIM tokens",
            )
        if not carry_holes(self._documents, tokenizer.fim):
            return asked or FimConfig()
        if asked is None or not asked.rate:
            return nothing
        raise ConfigError(
            f"data.fim.rate is {asked.rate}, and the documents of {self.shards.folder} have holes",
            why="they were rearranged when the shards were built; a hole in a hole is no text",
            fix="leave data.fim out, or build the shards with --set shards.fim.rate=0",
        )


def _too_short(shards: TokenShards, least: int, documents: Documents) -> ConfigError | CorpusError:
    if not len(documents):
        return CorpusError(
            f"{shards.folder} has no documents to train on",
            why="its train split is empty",
            fix="midfill corpus build from more sources, or a smaller share held out",
        )
    return ConfigError(
        f"least_tokens is {least:,}, and no document of {shards.folder} is so long",
        why=f"its longest has {int(documents.tokens.max()):,} tokens",
        fix="give a smaller least_tokens",
    )
