"""Long series of numbers, made short enough to draw without hiding their extremes.

Legend: n numbers of a series, b buckets.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

_SIDE = 6  # buckets on both sides of one that smooth it
Numbers = Float64[np.ndarray, "n"]
Places = Int64[np.ndarray, "n"]


@dataclass(frozen=True, slots=True)
class Buckets:
    """Neighbours of a series as one: the place they share, and their mean x, least, mean, largest y."""

    place: Int64[np.ndarray, "b"]
    x: Float64[np.ndarray, "b"]
    low: Float64[np.ndarray, "b"]
    mean: Float64[np.ndarray, "b"]
    high: Float64[np.ndarray, "b"]


def drawable(
    x: Numbers, y: Numbers, *, log_x: bool = False, log_y: bool = False
) -> tuple[Numbers, Numbers]:
    """The points that have a place, by growing x: both are numbers, positive on a log axis."""
    known = np.isfinite(x) & np.isfinite(y)
    known &= (x > 0) | (not log_x)
    known &= (y > 0) | (not log_y)
    x, y = x[known], y[known]
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def buckets(x: Numbers, y: Numbers, place: Places) -> Buckets:
    """A bucket for each place that occurs; `place` does not fall, and no number is lost from sight."""
    if not len(x):
        return Buckets(place, x, y, y, y)
    starts = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
    counts = np.diff(starts, append=len(x))
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    mean = np.clip(np.add.reduceat(y, starts) / counts, low, high)
    return Buckets(place[starts], np.add.reduceat(x, starts) / counts, low, mean, high)


def smooth(values: Numbers) -> Numbers:
    """Medians of each value and its neighbours: a spike does not lift what is around it.

    As many before as after but at the end, so that a steep beginning stays where it is.
    """
    side = [min(i, _SIDE) for i in range(len(values))]
    return np.array([np.median(values[i - k : i + k + 1]) for i, k in enumerate(side)], np.float64)
