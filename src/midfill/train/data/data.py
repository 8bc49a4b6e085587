"""The data of a run: every batch by its step, in one process or in many."""

from collections.abc import Generator
from contextlib import closing
from functools import cached_property, partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.config.train import BatchConfig, DataConfig
from midfill.errors import ConfigError
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data.ahead import Make, blocks_ahead
from midfill.train.data.batch import Batch
from midfill.train.data.block import Block
from midfill.train.data.check import check_tokenizer, fingerprint, tokenizer_digest
from midfill.train.data.mix import Mix, apportioned
from midfill.train.data.ramp import Ramp
from midfill.train.data.rows import Name, Rows
from midfill.train.data.source import Source


class Data:
    """Batches as a pure function of configuration, seed and step.

    The order does not depend on the number of processes that read it or make it, nor on what was
    read before. Not for several threads.
    """

    def __init__(
        self,
        config: DataConfig,
        batch: BatchConfig,
        seed: int,
        tokenizer: Tokenizer,
        *,
        kept_blocks: int = 2,
    ) -> None:
        """As `open`, without looking whether the tokenizer is that of the shards."""
        if not config.sources:
            raise ConfigError(
                "there is nothing to train on",
                why="data.sources is empty",
                fix="name a folder that midfill corpus build wrote (--data DIR)",
            )
        self._config, self._batch, self._seed, self._tokenizer = config, batch, seed, tokenizer
        self._mix = Mix([source.weight for source in config.sources], seed)
        self._ramp = Ramp(batch, config.length)
        self._sources = [
            Source(number, config, tokenizer, seed=seed, kept=kept_blocks)
            for number in range(len(config.sources))
        ]

    @classmethod
    def open(
        cls,
        config: DataConfig,
        batch: BatchConfig,
        seed: int,
        tokenizer: Tokenizer,
        *,
        kept_blocks: int = 2,
    ) -> "Data":
        """The data of a run; ids stay on disk. Raises ConfigError and CorpusError.

        `kept_blocks` of each source stay in memory; what is read does not depend on it.
        """
        data = cls(config, batch, seed, tokenizer, kept_blocks=kept_blocks)
        for source in data._sources:
            check_tokenizer(source.shards, tokenizer, data._digest)
        return data

    @cached_property
    def _digest(self) -> str:
        return tokenizer_digest(self._tokenizer)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the batches are a function of; equal ones give equal batches."""
        return fingerprint(self._config, self._batch, self._seed, self._sources, self._digest)

    @property
    def epoch_sequences(self) -> tuple[int, ...]:
        """Sequences that an epoch of each source has."""
        return tuple(source.sequences for source in self._sources)

    def sequences_at(self, step: int) -> int:
        """Sequences of a step, over all processes."""
        return self._ramp.sequences_at(step)

    def sequences_before(self, step: int) -> int:
        """Sequences of all steps before this one."""
        return self._ramp.sequences_before(step)

    def steps(self, tokens: int) -> int:
        """The fewest steps that read so many tokens."""
        return self._ramp.steps(-(-tokens // self._config.length))

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """What process `rank` of `world` reads in a step.

        The batches of all processes, in their order, are the batch of one. Where it cannot be
        divided, they differ by one sequence; some have none where processes outnumber sequences.
        """
        return self._read(self._rows(step, rank, world), self._block)

    def prefetch(
        self, first_step: int, rank: int = 0, world: int = 1
    ) -> Generator[tuple[int, Batch], None, None]:
        """Every step from the first on, and its `batch`; does not end, and is to be closed.

        `workers` processes of the configuration make blocks ahead. ResourceError where one of them
        was killed.
        """
        if not self._config.workers:
            yield from ((step, self.batch(step, rank, world)) for step in count(first_step))
        opener = partial(_opened, self._config, self._batch, self._seed, self._tokenizer)
        plan = partial(self._rows, rank=rank, world=world)
        with closing(blocks_ahead(plan, first_step, self._config.workers, opener)) as steps:
            for step, rows, block in steps:
                yield step, self._read(rows, block)

    def sample(self, tokens: int) -> NDArray[Any]:
        """About so many of the tokens that are trained on, without holes, in the mix's shares."""
        weights = [source.weight for source in self._config.sources]
        shares = apportioned(weights, tokens)
        parts = zip(self._sources, shares, strict=True)
        return np.concatenate([source.plain(int(most)) for source, most in parts])

    def held_out(self, sequences: int, length: int) -> list[Batch]:
        """Batches of at most `micro` held-out sequences, the same in every run on these shards.

        Sources share the `sequences` by their weights; one with less held out gives what it has.
        Documents are as they are on disk: without holes where the shards have none.
        """
        weights = [source.weight for source in self._config.sources]
        blocks = [
            (i, source.held_out(most, length))
            for i, (source, most) in enumerate(
                zip(self._sources, apportioned(weights, sequences), strict=True)
            )
        ]
        rows = [(i, one, row) for i, one in blocks if one for row in range(len(one.rows))]
        return [
            Batch.of(
                rows[first : first + self._batch.micro],
                length,
                mask_documents=self._config.mask_documents,
            )
            for first in range(0, len(rows), self._batch.micro)
        ]

    def _rows(self, step: int, rank: int, world: int) -> Rows:
        assert 0 <= rank < world
        whole = self.sequences_at(step)
        first, last = whole * rank // world, whole * (rank + 1) // world
        sources, numbers = self._mix.take(self.sequences_before(step) + first, last - first)
        places = np.empty((last - first, 4), np.int64)
        for i in np.unique(sources).tolist():
            here = sources == i
            epochs, blocks, rows = self._sources[i].places(numbers[here])
            places[here] = np.stack([np.full_like(rows, i), epochs, blocks, rows], axis=1)
        return Rows(places)

    def _block(self, name: Name) -> Block:
        return self._sources[name.source].block(name.epoch, name.block)

    def _made(self, name: Name) -> Block:
        return self._sources[name.source].make(name.epoch, name.block)

    def _read(self, rows: Rows, block: Make) -> Batch:
        listed = ((name.source, block(name), row) for name, row in rows)
        return Batch.of(listed, self._config.length, mask_documents=self._config.mask_documents)


def _opened(config: DataConfig, batch: BatchConfig, seed: int, tokenizer: Tokenizer) -> Make:
    """In a process of `blocks_ahead`: what makes the blocks of the same data."""
    return Data(config, batch, seed, tokenizer)._made
