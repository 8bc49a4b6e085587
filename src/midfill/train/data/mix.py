"""Which source the n-th sequence of a run comes from, and which of its sequences that is."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from midfill.errors import ConfigError
from midfill.train.data.chance import shuffled

Numbers = NDArray[np.int64]
_LEAST = 64  # sequences of the rarest source in a cycle: rounding moves its share by < 1 %
_LONGEST = 1 << 20  # sequences in a cycle


def apportioned(weights: Sequence[float], count: int) -> list[int]:
    """`count` things in shares of the weights, by largest remainder: each share is off by < 1."""
    parts = [Fraction(weight) for weight in weights]
    shares = [part * count / sum(parts) for part in parts]
    counts = [int(share) for share in shares]
    by_rest = sorted(range(len(parts)), key=lambda i: counts[i] - shares[i])
    for i in by_rest[: count - sum(counts)]:
        counts[i] += 1
    return counts


class Mix:
    """Sources in cycles: every cycle has the same number of each, in an order of its own."""

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        rarest = min(weights) / sum(weights)
        self.cycle = max(1, min(round(_LEAST / rarest), _LONGEST))
        self.counts = np.array(apportioned(weights, self.cycle))
        self._seed = seed
        self._cycle = lru_cache(maxsize=2)(self._made)
        if not self.counts.all():
            raise ConfigError(
                f"source {int(self.counts.argmin())} has {rarest:.2g} of the weights",
                why=f"it would come less than once in {_LONGEST:,} sequences",
                fix="give it more weight, or leave it out",
            )

    def take(self, first: int, count: int) -> tuple[Numbers, Numbers]:
        """Of the run's sequences from `first` on: the source of each, and its number in there."""
        cycles, places = np.divmod(np.arange(first, first + count), self.cycle)
        sources, numbers = np.empty_like(places), np.empty_like(places)
        for cycle in np.unique(cycles).tolist():
            here = cycles == cycle
            drawn, earlier = self._cycle(cycle)
            sources[here] = drawn[places[here]]
            numbers[here] = cycle * self.counts[sources[here]] + earlier[places[here]]
        return sources, numbers

    def _made(self, cycle: int) -> tuple[Numbers, Numbers]:
        """Sources of one cycle, and how many of the same stand before each in it."""
        order = shuffled(self.cycle, self._seed, "mix", cycle)
        sources = np.repeat(np.arange(len(self.counts)), self.counts)[order]
        earlier = np.empty_like(sources)
        earlier[np.argsort(sources, kind="stable")] = np.concatenate(
            [np.arange(count) for count in self.counts]
        )
        return sources, earlier
