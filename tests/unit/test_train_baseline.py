"""The n-gram baseline beside the formula written out."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from midfill.errors import ConfigError
from midfill.train.baseline import Grams
from midfill.train.data import IGNORED, Batch

VOCABULARY = 7


def written_out(tokens: Sequence[int], token: int, history: Sequence[int]) -> float:
    """Witten-Bell, the nearest token of the history first."""
    found = 1 / VOCABULARY
    for n in range(len(history) + 1):
        context = list(reversed(history[:n]))
        behind = [tokens[i + n] for i in range(len(tokens) - n) if tokens[i : i + n] == context]
        if behind:
            kinds = len(set(behind))
            found = (behind.count(token) + kinds * found) / (len(behind) + kinds)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_are_those_of_the_formula(seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, VOCABULARY, 120).tolist()
    grams = Grams(np.array(tokens), VOCABULARY)
    for history in ([], [3], [3, 5], [6, 6], [0, 1]):
        columns = [np.array([history[i] if i < len(history) else -1]) for i in range(2)]
        for token in range(VOCABULARY):
            found = grams.probabilities(np.array([token]), columns)[0]
            assert found == pytest.approx(written_out(tokens, token, history), rel=1e-12)


def test_probabilities_of_all_tokens_sum_to_one() -> None:
    grams = Grams(np.random.default_rng(0).integers(0, VOCABULARY, 500), VOCABULARY)
    every = np.arange(VOCABULARY)
    for near, far in ((2, 4), (0, -1), (-1, -1)):
        found = grams.probabilities(every, [np.full(VOCABULARY, near), np.full(VOCABULARY, far)])
        assert found.sum() == pytest.approx(1)


def test_history_ends_where_the_document_begins() -> None:
    """The loss of two documents in a row is that of each alone."""
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, 300)
    grams = Grams(tokens, VOCABULARY)

    def batch(ids: list[int], pieces: tuple[int, ...]) -> Batch:
        targets = np.array([[*ids[1:], IGNORED]])
        targets[0, np.cumsum(pieces) - 1] = IGNORED
        return Batch(
            tokens=np.array([ids]),
            targets=targets,
            documents=(pieces,),
            sources=np.zeros(1, np.int64),
        )

    one, other = tokens[:9].tolist(), tokens[40:46].tolist()
    alone = [grams.loss([batch(ids, (len(ids),))]) * (len(ids) - 1) for ids in (one, other)]
    together = grams.loss([batch(one + other, (9, 6))]) * (8 + 5)
    assert together == pytest.approx(sum(alone), rel=1e-12)
    assert math.isfinite(together)


def test_grams_that_do_not_fit_64_bits_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be counted"):
        Grams(np.arange(10), 1 << 22)
