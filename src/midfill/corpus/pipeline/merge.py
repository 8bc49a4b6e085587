"""Tokens of all parts to shards, in the order of the hashes of the documents' names.

The order is one permutation of all documents, so it knows neither parts nor workers: the same
documents give the same bytes however the work was divided.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.shards import INDEX, shard_files, write_shard
from midfill.errors import CorpusError

STAGE = "shards"


@dataclass(frozen=True, slots=True)
class Slices:
    """Documents in files of tokens: which file, from where, how many tokens, and the sort key."""

    file: NDArray[np.uint32]
    start: NDArray[np.uint64]
    tokens: NDArray[np.uint64]
    key: NDArray[np.uint64]

    def __getitem__(self, chosen: Any) -> "Slices":
        return Slices(self.file[chosen], self.start[chosen], self.tokens[chosen], self.key[chosen])

    def digest(self) -> str:
        """SHA-256 of all of it."""
        whole = hashlib.sha256()
        for column in (self.file, self.start, self.tokens, self.key):
            whole.update(np.ascontiguousarray(column).tobytes())
        return whole.hexdigest()

    def in_order(self) -> "Slices":
        """Sorted by key; among equal keys by place, which only equal names can come to."""
        return self[np.lexsort((self.start, self.file, self.key))]

    def cut(self, shard_tokens: int) -> Iterator["Slices"]:
        """Runs of about `shard_tokens` tokens each, in the order they are in."""
        if not len(self.tokens):
            return
        before = np.cumsum(self.tokens) - self.tokens
        number = before // np.uint64(min(shard_tokens, 1 << 63))
        for border in np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1):
            yield self[border]


def joined(parts: Sequence[Slices]) -> Slices:
    """All of them, one after the other."""
    columns = zip(*((one.file, one.start, one.tokens, one.key) for one in parts), strict=True)
    return Slices(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeTask:
    """One shard to write."""

    number: int
    key: str
    bytes: int
    ledger: Ledger
    folder: Path
    name: str
    split: str
    dtype: str
    files: Sequence[Path]  # of 32-bit ids
    slices: Slices
    stage: str = STAGE


def merge(task: MergeTask) -> dict[str, Any]:
    """Write the shard; return its note."""
    (task.folder / INDEX).unlink(missing_ok=True)  # it tells of the shards as they were
    shard = write_shard(task.folder, task.name, task.split, task.dtype, _documents(task))
    written = shard_files(task.folder, task.name)
    return task.ledger.finish(STAGE, task.number, task.key, {"shard": asdict(shard)}, written)


def _documents(task: MergeTask) -> Iterator[NDArray[Any]]:
    used = {int(i) for i in np.unique(task.slices.file)}
    mapped = {i: np.memmap(task.files[i], "<u4", mode="r") for i in used}
    one = task.slices
    for file, start, tokens in zip(one.file, one.start, one.tokens, strict=True):
        ids = mapped[int(file)][int(start) : int(start + tokens)]
        if len(ids) != tokens:
            raise CorpusError(
                f"{task.files[int(file)]} is cut off",
                why=f"it should hold {tokens:,} ids from {start:,} on",
                fix="remove this file and the .json beside it; the same command makes it again",
            )
        yield ids
