"""The documents of a split of token shards, by number, mapped from disk."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.shards import Shard, TokenShards
from midfill.errors import CorpusError

_TYPES = ("<u2", "<u4")


class Documents:
    """All documents of a split, one behind the other over all shards. Raises CorpusError."""

    def __init__(self, shards: TokenShards, split: str) -> None:
        self._folder = shards.folder
        listed = shards.shards(split)
        borders = [self._borders(shards, shard) for shard in listed]
        self._ids = [np.asarray(shards.ids(shard)) for shard in listed]
        self._starts = [border[:-1] for border in borders]
        self._firsts = np.cumsum([0, *(len(starts) for starts in self._starts)])
        lengths = [np.diff(border) for border in borders]
        self.tokens = np.concatenate([np.zeros(0, np.int64), *lengths])  # of each document

    def __len__(self) -> int:
        return len(self.tokens)

    def ids(self, number: int) -> NDArray[Any]:
        """The ids of a document, begin and end tokens included."""
        shard = int(np.searchsorted(self._firsts, number, side="right")) - 1
        start = int(self._starts[shard][number - self._firsts[shard]])
        return self._ids[shard][start : start + int(self.tokens[number])]

    def _borders(self, shards: TokenShards, shard: Shard) -> NDArray[np.int64]:
        """Where documents begin, and where the last one ends."""
        starts = shards.starts(shard)
        borders = np.append(starts, np.uint64(shard.tokens)).astype(np.int64)
        rising = bool((np.diff(borders) > 0).all()) and borders[0] == 0
        if shard.dtype not in _TYPES or not (rising or not shard.tokens):
            raise damaged(shards, f"shard {shard.name} has documents that begin in no order")
        return borders


def damaged(shards: TokenShards, why: str) -> CorpusError:
    """The error for shards whose files have the right size and other contents."""
    return CorpusError(
        f"{shards.folder} is damaged",
        why=why,
        fix="build the corpus again, as before: finished stages are kept",
    )
