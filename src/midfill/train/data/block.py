"""Documents packed into sequences, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Block:
    """A stream of tokens that holds its sequences, and the target behind the last."""

    ids: NDArray[Any]
    starts: NDArray[np.int64]  # where documents begin, rising from 0
    rows: NDArray[np.int64]  # which stretch of the stream each sequence is

    @classmethod
    def pack(
        cls, documents: Sequence[NDArray[Any]], rows: NDArray[np.int64], length: int
    ) -> "Block":
        """The documents one behind the other, cut to a sequence for each of `rows`.

        What is over is left out. Where they are too short, they begin again.
        """
        ids = np.concatenate(documents)
        sizes = np.array([len(one) for one in documents])
        starts = np.cumsum(sizes) - sizes
        wanted = len(rows) * length + 1
        times = -(-wanted // len(ids))
        if times > 1:
            starts = (np.arange(times)[:, None] * len(ids) + starts).ravel()
            ids = np.tile(ids, times)
        return cls(ids[:wanted], starts[starts < wanted], rows)

    def sequence(self, row: int, length: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """`length` ids and the next one, and where in them documents begin, but for the first."""
        start = int(self.rows[row]) * length
        first, last = np.searchsorted(self.starts, [start, start + length], side="right")
        return self.ids[start : start + length + 1], self.starts[first:last] - start
