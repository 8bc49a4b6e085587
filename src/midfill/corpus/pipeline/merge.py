"""Tokens of all parts to shards, in the order of the hashes of the documents' names.

The order is one permutation of all documents, so it knows neither parts nor workers: the same
documents give the same bytes however the work was divided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.shards import Shard, write_shard


@dataclass(frozen=True, slots=True)
class Slices:
    """Documents in files of tokens: which file, from where, how many tokens, and the sort key."""

    file: NDArray[np.uint32]
    start: NDArray[np.uint64]
    tokens: NDArray[np.uint64]
    key: NDArray[np.uint64]

    def __getitem__(self, chosen: Any) -> "Slices":
        return Slices(self.file[chosen], self.start[chosen], self.tokens[chosen], self.key[chosen])

    def in_order(self) -> "Slices":
        """Sorted by key; among equal keys by place, which only equal names can come to."""
        return self[np.lexsort((self.start, self.file, self.key))]

    def cut(self, shard_tokens: int) -> Iterator["Slices"]:
        """Runs of about `shard_tokens` tokens each, in the order they are in."""
        if not len(self.tokens):
            return
        before = np.cumsum(self.tokens) - self.tokens
        number = before // np.uint64(shard_tokens)
        for border in np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1):
            yield self[border]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeTask:
    """One shard to write."""

    folder: Path
    name: str
    split: str
    dtype: str
    files: Sequence[Path]  # of 32-bit ids
    slices: Slices


def merge(task: MergeTask) -> Shard:
    """Write the shard."""
    return write_shard(task.folder, task.name, task.split, task.dtype, _documents(task))


def _documents(task: MergeTask) -> Iterator[NDArray[Any]]:
    used = {int(i) for i in np.unique(task.slices.file)}
    mapped = {i: np.memmap(task.files[i], "<u4", mode="r") for i in used}
    one = task.slices
    for file, start, tokens in zip(one.file, one.start, one.tokens, strict=True):
        yield mapped[int(file)][int(start) : int(start + tokens)]
