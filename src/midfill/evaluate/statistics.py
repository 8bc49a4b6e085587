"""The arithmetic behind a score: pass@k, intervals, paired tests, similarity of two lines.

Everything is over tasks, never over samples: answers to one task are not independent of each other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from midfill.errors import ConfigError

CONFIDENCE = 0.95
RESAMPLES = 10_000
_DRAWN_AT_ONCE = 4_000_000  # numbers of a bootstrap held at one time
_LONGEST_LINE = 10_000  # characters that are compared: the time grows with their square


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true value lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAtK:
    """The chance that one of k answers passes, and how many answers a task had to tell from."""

    k: int
    value: float
    per_task: Mapping[str, float]
    least: int  # answers of the task with the fewest
    most: int  # differs from `least` where tasks have different numbers of answers

    def __str__(self) -> str:
        answers = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"pass@{self.k} {100 * self.value:.1f} from {answers} answers a task"


def pass_at_k(counts: Mapping[str, tuple[int, int]], k: int) -> PassAtK:
    """Unbiased pass@k from (answers, passed) of each task; tasks may differ in their answers.

    Raises ConfigError where a task has fewer than k answers, naming it: leaving it out, or leaving
    out this k, would change what the number means. Source: Codex, arXiv 2107.03374, section 2.1.
    """
    if k < 1:
        raise ConfigError(f"pass@{k} was asked for", why="k is at least 1", fix="ask for pass@1")
    for name, (n, passed) in counts.items():
        if not 0 <= passed <= n:
            raise ValueError(f"{passed} of {n} answers to {name} passed")
        if n < k:
            raise ConfigError(
                f"pass@{k} cannot be told for {name}",
                why=f"it has {n} answer{'s' * (n != 1)}",
                fix=f"draw at least {k} answers for each task, or ask for pass@{n}"
                if n
                else "answer every task",
            )
    per_task = {name: _pass_at_k(n, passed, k) for name, (n, passed) in counts.items()}
    answers = [n for n, _ in counts.values()] or [0]
    return PassAtK(
        k=k,
        value=math.fsum(per_task.values()) / len(per_task) if per_task else 0.0,
        per_task=per_task,
        least=min(answers),
        most=max(answers),
    )


def _pass_at_k(n: int, passed: int, k: int) -> float:
    """1 - C(n - passed, k) / C(n, k), as a product, which never overflows."""
    if n - passed < k:
        return 1.0
    return 1 - math.prod(1 - k / i for i in range(n - passed + 1, n + 1))


def wilson(passed: int, n: int) -> Interval:
    """Wilson's score interval of a share: stays within 0 and 1, and is right for few tasks too."""
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = passed / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if passed == 0 else max(middle - half, 0.0)
    high = 1.0 if passed == n else min(middle + half, 1.0)
    return Interval(low, high)


def bootstrap(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Percentile interval of the mean over tasks, from resampled tasks; the same for a seed."""
    if not values:
        return Interval(0.0, 1.0)
    taken, n = np.asarray(values, dtype=np.float64), len(values)
    draw, at_once = np.random.default_rng(seed), max(1, _DRAWN_AT_ONCE // n)
    means = [
        taken[draw.integers(0, n, (min(at_once, resamples - done), n))].mean(axis=1)
        for done in range(0, resamples, at_once)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return Interval(float(low), float(high))


def bootstrap_ratio(
    above: NDArray[np.float64],
    below: NDArray[np.float64],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Percentile interval of sum(above) / sum(below) over units, both drawn together.

    One unit tells nothing about others: its interval is the ratio itself.
    """
    n = len(above)
    draw, at_once = np.random.default_rng(seed), max(1, _DRAWN_AT_ONCE // n)
    ratios = []
    for done in range(0, resamples, at_once):
        drawn = draw.integers(0, n, (min(at_once, resamples - done), n))
        ratios.append(above[drawn].sum(axis=1) / below[drawn].sum(axis=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(ratios), (tail, 1 - tail))
    return Interval(float(low), float(high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two models are equal, from the tasks that only one of them passes."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    if fewer < 0:
        raise ValueError(f"{fewer} tasks")
    ways, tail = 1, 0  # C(n, i), and its sum up to `fewer`
    for i in range(fewer + 1):
        tail += ways
        ways = ways * (n - i) // (i + 1)
    return min(1.0, 2 * tail / 2**n)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p values corrected for their number by Holm's step-down method, in the given order."""
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    largest, corrected = 0.0, {}
    for i, (name, p) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - i) * p))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def standard_error(share: float, n: int) -> float:
    """Binomial standard error of a share of n; for a mean of values between 0 and 1, a bound."""
    return math.sqrt(share * (1 - share) / n) if n else math.inf


def beats(value: float, n: int, baseline: float, baseline_n: int) -> bool:
    """Whether a score lies more than two standard errors of the difference above a baseline's."""
    spread = math.hypot(standard_error(value, n), standard_error(baseline, baseline_n))
    return value - baseline > 2 * spread


def exact_match(answer: str, reference: str) -> bool:
    """Whether two lines are the same word by word, as RepoBench compares them."""
    return answer.split() == reference.split()


def edit_similarity(reference: str, answer: str) -> int:
    """How alike two lines are, 0 to 100, to the digit of RepoBench's scorer; their order can matter.

    It calls `fuzz.ratio` of fuzzywuzzy 0.18.0, and its requirements hold no Levenshtein package;
    without one that is twice the characters in common by difflib over all characters, rounded half
    to even. (Where that package is installed fuzzywuzzy counts another alignment, and scores differ
    by a few points.) Of longer lines the first 10,000 characters are compared. Source: RepoBench,
    eval.py, evaluation/metrics.py and requirements.txt.
    """
    if reference == answer:
        return 100
    if not reference or not answer:
        return 0
    pair = SequenceMatcher(None, reference[:_LONGEST_LINE], answer[:_LONGEST_LINE])
    return round(100 * pair.ratio())
