"""The arithmetic of scores against scipy, statsmodels, worked numbers and laws."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.errors import ConfigError
from midfill.evaluate.statistics import (
    beats,
    bootstrap,
    edit_similarity,
    exact_match,
    holm,
    mcnemar,
    pass_at_k,
    wilson,
)

shares = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
lines = st.text(alphabet="ab (_=1", max_size=12)


def oracle(name: str):
    return pytest.importorskip(
        name, reason=f"the independent arithmetic: pip install {name.partition('.')[0]}"
    )


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [
        (133, 164, 74.4, 86.4),
        (148, 164, 84.7, 93.9),
        (260, 378, 63.9, 73.2),
        (55, 226, 19.2, 30.3),
        (38, 300, 9.4, 16.9),
    ],
)
def test_intervals_of_the_published_scores(passed: int, n: int, low: float, high: float):
    interval = wilson(passed, n)
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


@pytest.mark.parametrize(
    ("first", "second", "p"), [(10, 2, 0.039), (12, 4, 0.077), (15, 5, 0.041), (20, 9, 0.061)]
)
def test_worked_mcnemar(first: int, second: int, p: float):
    assert round(mcnemar(first, second), 3) == p


def test_intervals_are_scipys():
    binomtest = oracle("scipy.stats").binomtest
    for n in (1, 2, 7, 164, 378, 5815):
        for passed in sorted({0, 1, n // 3, n - 1, n} & set(range(n + 1))):
            theirs = binomtest(passed, n).proportion_ci(method="wilson")
            ours = wilson(passed, n)
            assert ours.low == pytest.approx(theirs.low, abs=1e-9)
            assert ours.high == pytest.approx(theirs.high, abs=1e-9)


def test_bootstrap_is_scipys():
    numpy, stats = oracle("numpy"), oracle("scipy.stats")
    values = [0.0, 0.25, 1.0, 1.0, 0.5, 0.0, 0.75, 1.0, 0.1]
    theirs = stats.bootstrap(
        (values,),
        numpy.mean,
        n_resamples=10_000,
        method="percentile",
        rng=numpy.random.default_rng(7),
    ).confidence_interval
    ours = bootstrap(values, seed=7)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_mcnemar_is_scipys_and_statsmodels():
    binomtest = oracle("scipy.stats").binomtest
    theirs = oracle("statsmodels.stats.contingency_tables").mcnemar
    for first, second in [(0, 0), (1, 0), (0, 5), (3, 3), (10, 2), (40, 61), (700, 650)]:
        ours = mcnemar(first, second)
        table = [[100, first], [second, 50]]
        if first + second:
            assert ours == pytest.approx(binomtest(first, first + second).pvalue, abs=1e-9)
            assert ours == pytest.approx(theirs(table, exact=True).pvalue, abs=1e-9)
        else:
            assert ours == 1


def test_holm_is_statsmodels():
    multipletests = oracle("statsmodels.stats.multitest").multipletests
    for values in ([0.04], [0.01, 0.04, 0.03], [0.5, 0.001, 0.9, 0.02, 0.02], [1.0, 0.6]):
        named = {f"rule {i}": p for i, p in enumerate(values)}
        theirs = multipletests(values, method="holm")[1]
        assert list(holm(named).values()) == pytest.approx(list(theirs), abs=1e-9)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_choices_that_hold_a_pass(n: int, data: st.DataObject):
    passed, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    chosen = list(itertools.combinations(range(n), k))
    share = Fraction(sum(min(choice) < passed for choice in chosen), len(chosen))
    assert pass_at_k({"a": (n, passed)}, k).value == pytest.approx(float(share), abs=1e-12)


@given(st.lists(shares, min_size=1, max_size=8))
def test_pass_at_1_is_the_mean_over_tasks(tasks: list[tuple[int, int]]):
    counts = {str(i): (n, passed) for i, (passed, n) in enumerate(tasks)}
    mean = sum(passed / n for passed, n in tasks) / len(tasks)
    assert pass_at_k(counts, 1).value == pytest.approx(mean, abs=1e-9)


def test_pass_at_k_names_the_task_with_too_few_answers():
    with pytest.raises(ConfigError, match="pass@5 cannot be told for HumanEval/3") as caught:
        pass_at_k({"HumanEval/1": (10, 2), "HumanEval/3": (4, 4)}, 5)
    assert "it has 4 answers" in caught.value.why
    with pytest.raises(ConfigError, match="pass@0"):
        pass_at_k({"a": (1, 1)}, 0)


def test_different_numbers_of_answers_are_stated():
    found = pass_at_k({"a": (10, 5), "b": (20, 0)}, 10)
    assert str(found) == "pass@10 50.0 from 10 to 20 answers a task"
    assert found.per_task["b"] == 0
    assert str(pass_at_k({"a": (2, 1)}, 1)) == "pass@1 50.0 from 2 answers a task"


@given(shares)
def test_wilson_holds_the_share_and_mirrors(share: tuple[int, int]):
    passed, n = share
    interval, mirror = wilson(passed, n), wilson(n - passed, n)
    assert 0 <= interval.low <= passed / n <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_knows_no_order(first: int, second: int):
    p = mcnemar(first, second)
    assert 0 < p <= 1
    assert p == mcnemar(second, first)
    if first == second:
        assert p == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_never_makes_a_p_smaller_nor_changes_the_order(values: list[float]):
    corrected = list(holm({str(i): p for i, p in enumerate(values)}).values())
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    ranked = sorted(range(len(values)), key=values.__getitem__)
    assert [corrected[i] for i in ranked] == sorted(corrected)


def test_bootstrap_is_the_same_for_a_seed_and_holds_the_mean():
    values = [1.0] * 30 + [0.0] * 10
    one, again, other = bootstrap(values), bootstrap(values), bootstrap(values, seed=1)
    assert one == again
    assert one.low < 0.75 < one.high
    assert abs(one.low - other.low) < 0.05
    near = wilson(30, 40)
    assert one.low == pytest.approx(near.low, abs=0.04)
    assert bootstrap([0.3] * 5) == bootstrap([0.3] * 9)


def test_bootstrap_of_many_tasks_comes_in_parts():
    values = [i % 2 for i in range(5815)]
    spread = 1.96 * 0.5 / math.sqrt(len(values))
    interval = bootstrap(values, resamples=2000)
    assert interval.high - interval.low == pytest.approx(2 * spread, rel=0.1)


def test_a_model_must_lie_two_standard_errors_above_a_table():
    assert not beats(0.10, 200, 0.075, 200)  # the difference is 2.5 points, its error 2.8
    assert not beats(0.12, 100, 0.07, 100)  # 5 points, its error 4.1
    assert beats(0.20, 200, 0.075, 200)
    assert not beats(0.0, 50, 0.0, 50)
    assert not beats(0.05, 200, 0.20, 200)


@pytest.mark.parametrize(
    ("reference", "answer", "similarity"),
    [
        ("", "", 100),
        ("", "x", 0),
        ("return a", "return a", 100),
        ("abcd", "bcde", 75),  # 2 * 3 of 8
        ("ab", "ba", 50),  # 2 * 1 of 4
        ("abcdefgh", "a", 22),  # 2 of 9
        ("a" * 7 + "x", "a" * 7 + "yy", 82),  # 14 of 17
        ("abxcd", "cdab", 44),  # difflib keeps the first longest block, 2 * 2 of 9
    ],
)
def test_edit_similarity_by_hand(reference: str, answer: str, similarity: int):
    assert edit_similarity(reference, answer) == similarity


@given(lines, lines)
def test_edit_similarity_is_between_0_and_100_and_whole_for_equals_alone(a: str, b: str):
    assert 0 <= edit_similarity(a, b) <= 100
    assert edit_similarity(a, a) == 100
    if a != b:
        assert edit_similarity(a, b) < 100


@pytest.mark.filterwarnings("ignore:Using slow pure-python SequenceMatcher")
@given(lines, lines)
def test_edit_similarity_is_fuzzywuzzys(a: str, b: str):
    assert edit_similarity(a, b) == oracle("fuzzywuzzy.fuzz").ratio(a, b)


def test_exact_match_looks_past_white_space_only():
    assert exact_match("return  a +\tb ", "return a + b")
    assert not exact_match("return a+b", "return a + b")
    assert exact_match(" ", "")
