"""Documents dealt into blocks, and sequences found in them by arithmetic.

How many sequences a block has follows from the lengths of its documents on disk, although holes
make some longer, and how much is known only when they are made: what is over is left out, what is
missing is taken from the block's beginning.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from midfill.train.data.chance import shuffled

Numbers = NDArray[np.int64]
# Sequences in a block at least, where there are documents for it: of the surplus, half a sequence
# on average, long sequences would lose much.
_LEAST = 16


class Deal:
    """Which documents make a block, and in which block a sequence lies.

    `tokens` are those of each document, to which holes add `added` on average, or more; `key` names
    the source of chance. Every epoch visits all blocks, in an order of its own; documents stay in
    their block.
    """

    def __init__(
        self,
        tokens: Numbers,
        *,
        length: int,
        block_tokens: int,
        added: float,
        key: tuple[object, ...],
    ) -> None:
        self._key = key
        self._documents = shuffled(len(tokens), *key, "deal")
        ends = np.cumsum(tokens[self._documents])
        whole = int(ends[-1])
        count = max(1, round(whole / max(block_tokens, _LEAST * length)))
        aims = np.array([whole * i // count for i in range(1, count)], np.int64)
        cuts = np.searchsorted(ends, aims) + 1
        self._borders = np.unique(np.concatenate([[0], cuts, [len(tokens)]]))
        self.tokens = np.diff(ends[self._borders[1:] - 1], prepend=0)  # of each block, on disk
        stream = self.tokens + (added * np.diff(self._borders)).astype(np.int64)
        self.counts = np.maximum(1, (stream - 1) // length)  # sequences of each block
        self.sequences = int(self.counts.sum())  # of an epoch
        self._epoch = lru_cache(maxsize=2)(self._visits)

    def places(self, numbers: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Epoch, block and row of each sequence, counted from the beginning of the run."""
        epochs, left = np.divmod(numbers, self.sequences)
        blocks, rows = np.empty_like(left), np.empty_like(left)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            visited, ends = self._epoch(epoch)
            i = np.searchsorted(ends, left[here], side="right")
            blocks[here] = visited[i]
            rows[here] = left[here] - (ends[i] - self.counts[visited[i]])
        return epochs, blocks, rows

    def documents(self, block: int, epoch: int) -> Numbers:
        """The documents of a block, in the order of this epoch."""
        dealt = self._documents[self._borders[block] : self._borders[block + 1]]
        return dealt[shuffled(len(dealt), *self._key, "documents", epoch, block)]

    def rows(self, block: int, epoch: int) -> Numbers:
        """Which stretch of a block's tokens each row is: parts of a long document lie apart."""
        return shuffled(int(self.counts[block]), *self._key, "rows", epoch, block)

    def _visits(self, epoch: int) -> tuple[Numbers, Numbers]:
        """Blocks in the order of an epoch, and the sequences up to the end of each."""
        visited = shuffled(len(self.counts), *self._key, "blocks", epoch)
        return visited, np.cumsum(self.counts[visited])
