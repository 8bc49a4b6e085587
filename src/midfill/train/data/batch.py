"""What one process reads in one step. B sequences of T tokens."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midfill.train.data.block import Block

IGNORED = -100  # a target without loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Sequences, what is to be predicted behind each token, and who sees whom."""

    tokens: NDArray[np.int64]  # [B, T]
    targets: NDArray[np.int64]  # [B, T], IGNORED where the next token is another document's
    documents: tuple[
        tuple[int, ...], ...
    ]  # of each sequence: lengths of pieces that see themselves only
    sources: NDArray[np.int64]  # [B], which source each sequence is from

    @classmethod
    def of(
        cls, rows: Iterable[tuple[int, Block, int]], length: int, *, mask_documents: bool
    ) -> "Batch":
        """The batch of rows, each a source, a block and a row of it.

        Without `mask_documents` each sequence is one piece, and predicts across its documents.
        """
        listed = list(rows)
        ids = np.empty((len(listed), length + 1), np.int64)
        targets = ids[:, 1:].copy()
        documents = []
        for i, (_, block, row) in enumerate(listed):
            ids[i], starts = block.sequence(row, length)
            targets[i] = ids[i, 1:]
            if not mask_documents:
                starts = starts[:0]
            targets[i, starts - 1] = IGNORED
            inner = starts[starts < length].tolist()
            documents.append(tuple(np.diff([0, *inner, length]).tolist()))
        return cls(
            tokens=ids[:, :-1].copy(),
            targets=targets,
            documents=tuple(documents),
            sources=np.array([source for source, _, _ in listed], np.int64),
        )
