"""What counting alone predicts: the loss of an n-gram model, which a network has to beat.

Witten-Bell interpolation (Witten and Bell 1991): what a context was seen with decides how much the
shorter context has to say. Tokens as they lie in the shards; a document's first tokens have the
contexts they have.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midfill.errors import ConfigError
from midfill.train.data import IGNORED, Batch

Keys = NDArray[np.uint64]
MOST_TOKENS = 20_000_000  # counted at most; 8 bytes a token for each order


@dataclass(frozen=True, slots=True)
class _Order:
    """The contexts and n-grams of one length, sorted, with what was counted of each."""

    contexts: Keys
    seen: NDArray[np.int64]  # how often each context came
    kinds: NDArray[np.int64]  # how many different tokens came behind it
    grams: Keys
    counts: NDArray[np.int64]


class Grams:
    """Counts of all n-grams up to an order of a stream of tokens below `vocabulary`."""

    def __init__(self, tokens: NDArray[np.integer], vocabulary: int, order: int = 3) -> None:
        self._bits = max(int(vocabulary - 1).bit_length(), 1)
        if order * self._bits > 64:
            raise ConfigError(
                f"{order}-grams of a vocabulary of {vocabulary:,} cannot be counted",
                why=f"they need {order * self._bits} bits, there are 64",
                fix=f"an order of at most {64 // self._bits}",
            )
        self._vocabulary = vocabulary
        self._orders = [self._counted(tokens, n) for n in range(1, order + 1)]

    def probabilities(
        self, tokens: NDArray[np.integer], history: Sequence[NDArray[np.integer]]
    ) -> NDArray[np.float64]:
        """Of each token behind its history, the nearest token first; a history below 0 is none."""
        found = np.full(len(tokens), 1 / self._vocabulary)
        usable = np.ones(len(tokens), bool)
        context = np.zeros(len(tokens), np.uint64)
        for n, order in enumerate(self._orders):
            if n:
                usable &= history[n - 1] >= 0
                before = np.where(usable, history[n - 1], 0).astype(np.uint64)
                context |= before << np.uint64(self._bits * (n - 1))
            gram = (context << np.uint64(self._bits)) | tokens.astype(np.uint64)
            seen = _looked_up(order.contexts, order.seen, context)
            kinds = _looked_up(order.contexts, order.kinds, context)
            count = _looked_up(order.grams, order.counts, gram)
            known = usable & (seen > 0)
            mixed = (count + kinds * found) / np.maximum(seen + kinds, 1)
            found = np.where(known, mixed, found)
        return found

    def loss(self, batches: Iterable[Batch]) -> float:
        """Nats for each target of the batches, each predicted from its own document's tokens."""
        nats, targets = 0.0, 0
        for batch in batches:
            for row, wanted, pieces in zip(
                batch.tokens, batch.targets, batch.documents, strict=True
            ):
                kept = wanted != IGNORED
                history = [_back(row, pieces, n) for n in range(len(self._orders) - 1)]
                found = self.probabilities(wanted[kept], [one[kept] for one in history])
                nats -= float(np.log(found).sum())
                targets += int(kept.sum())
        return nats / max(targets, 1)

    def _counted(self, tokens: NDArray[np.integer], n: int) -> _Order:
        key = np.zeros(max(len(tokens) - n + 1, 0), np.uint64)
        for i in range(n):
            key = (key << np.uint64(self._bits)) | tokens[i : i + len(key)].astype(np.uint64)
        grams, counts = np.unique(key, return_counts=True)
        contexts, first = np.unique(grams >> np.uint64(self._bits), return_index=True)
        kinds = np.diff(np.append(first, len(grams)))
        seen = np.add.reduceat(counts, first) if len(counts) else counts
        return _Order(contexts, seen, kinds, grams, counts)


def _looked_up(keys: Keys, values: NDArray[np.int64], wanted: Keys) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is not there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def _back(row: NDArray[np.int64], pieces: Sequence[int], n: int) -> NDArray[np.int64]:
    """The token `n` before each position, -1 where that is another document's."""
    start = np.repeat(np.cumsum([0, *pieces[:-1]]), pieces)
    place = np.arange(len(row)) - n
    return np.where(place >= start, row[np.maximum(place, 0)], -1)
