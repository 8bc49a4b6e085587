"""Where the sequences of a batch lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Name(NamedTuple):
    """A block as it is in one epoch."""

    source: int
    epoch: int
    block: int


@dataclass(frozen=True, slots=True)
class Rows:
    """For each sequence the source, epoch and block it is of, and its row there."""

    places: NDArray[np.int64]  # [B, 4]

    def __iter__(self) -> Iterator[tuple[Name, int]]:
        for source, epoch, block, row in self.places.tolist():
            yield Name(source, epoch, block), row

    @property
    def names(self) -> tuple[Name, ...]:
        """The blocks they are of, each once."""
        return tuple(dict.fromkeys(name for name, _ in self))
