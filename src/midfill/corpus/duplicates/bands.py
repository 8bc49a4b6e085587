"""How many bands of how many rows suit a threshold (LSH; The Stack's choice)."""

import functools
from typing import TypeVar

import numpy as np

from midfill.config.corpus.duplicates import Duplicates

F = TypeVar("F", float, np.ndarray)
STEPS = 1000  # of the numerical integrals; the choice no longer changes well below this


def candidate_probability(similarity: F, bands: int, rows: int) -> F:
    """The chance that two documents of this Jaccard similarity share at least one band."""
    return 1 - (1 - similarity**rows) ** bands


@functools.cache
def bands_rows(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows with the least sum of two areas, at most `permutations` multiplied.

    The areas are those of the candidate probability below the threshold (work for nothing) and of
    its complement above it (pairs never found). 0.7 and 256 give 25 x 10.
    """
    below = (np.arange(STEPS) + 0.5) / STEPS * threshold
    above = threshold + (np.arange(STEPS) + 0.5) / STEPS * (1 - threshold)
    best = (np.inf, 1, 1)
    for rows in range(1, permutations + 1):
        bands = np.arange(1, permutations // rows + 1)
        false = (1 - (1 - below**rows)[:, None] ** bands).mean(0) * threshold
        missed = ((1 - above**rows)[:, None] ** bands).mean(0) * (1 - threshold)
        errors = false + missed
        least = int(errors.argmin())
        best = min(best, (float(errors[least]), int(bands[least]), rows))
    return best[1], best[2]


def shape(config: Duplicates) -> tuple[int, int]:
    """Bands and rows of a configuration: as given, or the best for its threshold."""
    if config.bands is not None and config.rows is not None:
        return config.bands, config.rows
    return bands_rows(config.threshold, config.permutations)
