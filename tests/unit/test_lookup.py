"""Prompt look-up: what is drafted, when, and that it can never cost much."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.engine.lookup import (
    ALLOWANCE,
    CANDIDATES,
    DENSE_COSTS,
    GRACE,
    LONG,
    MOE_COSTS,
    MOST_DRAFT,
    Lookup,
    best_length,
    costs_by_rows,
)

DENSE = {1: 1.0, 2: 1.20, 4: 1.09, 8: 1.34, 16: 2.65}  # of a kernel that reads memory more slowly
MOE = {1: 1.0, 2: 1.45, 4: 2.23, 8: 3.40, 16: 4.72}  # of rows that share no expert
TABLES = {"dense": DENSE, "moe": MOE, "free": {2: 1.0, 16: 1.0}}
TABLES |= {"measured dense": DENSE_COSTS, "measured moe": MOE_COSTS}
FILE = list(range(1000, 1400))
few = st.lists(st.integers(0, 3), max_size=60)  # few tokens, so that everything repeats


def write(lookup: Lookup, answer: Sequence[int], costs: Sequence[float]) -> tuple[float, int]:
    """Time and steps of an answer that is known beforehand, verified as the engine does."""
    at, time, steps = 0, 0.0, 0
    while at < len(answer):
        draft = lookup.draft(len(answer) - at - 1)
        right = next((i for i, d in enumerate(draft) if d != answer[at + i]), len(draft))
        lookup.judged(len(draft), right)
        lookup.extend(answer[at : at + right + 1])
        at, time, steps = at + right + 1, time + costs[len(draft) + 1], steps + 1
    return time, steps


def speed(prompt: Sequence[int], answer: Sequence[int], table: str) -> float:
    """Tokens for each unit of time; 1 without speculation."""
    time, _ = write(Lookup(prompt, step_costs=TABLES[table]), answer, costs_by_rows(TABLES[table]))
    return len(answer) / time


# ------------------------------------------------------------------------------------- drafts


def test_what_stood_behind_the_same_tokens_is_drafted():
    lookup = Lookup([1, 2, 3, 4, 5, 6, 7, 8, 9], step_costs=TABLES["free"])
    assert lookup.draft(4) == []
    lookup.extend([2, 3])
    assert lookup.draft(4) == []  # two tokens are no match
    lookup.extend([4])
    assert lookup.draft(4) == [5, 6, 7, 8]
    assert lookup.draft(2) == [5, 6]
    assert lookup.draft(0) == []
    lookup.extend([5])
    assert lookup.draft(9) == [6, 7, 8, 9, 2, 3, 4, 5]  # and then what the answer itself said


def test_a_prompt_may_repeat_itself_already():
    assert Lookup([1, 2, 3, 4, 5, 1, 2, 3], step_costs=TABLES["free"]).draft(2) == [4, 5]


def test_the_prompt_may_come_first_instead():
    """Nothing is learned from it: a text that repeats itself says little about its answer."""
    prompt = [1, 2, 3, 4] * 100
    given, told = Lookup(prompt), Lookup()
    assert told.draft(5) == []
    told.extend(prompt)
    assert vars(given) == vars(told)


def test_short_prompts():
    for prompt in ([], [1], [1, 1], [1, 1, 1]):
        lookup = Lookup(prompt)
        lookup.draft(5)
        lookup.extend([1, 2])
        lookup.draft(5)


def test_a_longer_match_wins_over_a_newer_one():
    text = [*range(20), 99, 17, 18, 19, 50, 51]
    lookup = Lookup(text, step_costs=TABLES["free"])
    lookup.extend(range(10, 20))
    assert lookup.draft(1) == [99]


def test_of_equal_matches_the_newest_counts():
    lookup = Lookup([1, 2, 3, 7, *range(100, 120), 4, 1, 2, 3, 8, *range(200, 220)],
                    step_costs=TABLES["free"])  # fmt: skip
    lookup.extend([1, 2, 3])
    assert lookup.draft(1) == [8]


@pytest.mark.parametrize(
    ("edited", "behind"),
    [
        ([*FILE[:100], 1, *FILE[101:]], 102),  # one token replaced
        ([*FILE[:100], 1, 2, 3, 4, 5, *FILE[103:]], 107),  # three by five
        ([*FILE[:100], *range(60), *FILE[100:]], 162),  # a long part put in
        ([*FILE[:100], *FILE[140:]], 102),  # a part taken out
        ([*FILE[:100], *FILE[300:]], 104),  # a part longer than what counts as near
        ([*FILE[:100], *FILE[90:]], 104),  # a part repeated
    ],
)
def test_behind_an_edit_the_original_is_followed_again(edited, behind):
    lookup = Lookup(FILE)
    lookup.extend(edited[:100])
    assert lookup.draft(15) == FILE[100 : 100 + len(lookup.draft(15))] != []
    lookup.extend(edited[100:behind])
    draft = lookup.draft(15)
    assert draft == edited[behind : behind + len(draft)] != []


def test_the_place_of_the_edit_counts_more_than_a_newer_copy():
    """After an edit the same few tokens stand nearby and, later, somewhere else."""
    here, elsewhere = [7, 8, 9, 10, 11, 12], [7, 8, 50, 51, 52, 53]
    prompt = [*FILE[:50], 5, *here, *FILE[50:100], 1, 2, *elsewhere]
    lookup = Lookup(prompt, step_costs=TABLES["free"])
    lookup.extend([*FILE[:50], 6, 7, 8])
    assert lookup.draft(4) == [9, 10, 11, 12]


@settings(max_examples=300)
@given(prompt=few, answer=few, most=st.integers(0, 20), table=st.sampled_from(sorted(TABLES)))
def test_a_draft_is_part_of_what_was_read(prompt, answer, most, table):
    lookup = Lookup(prompt, step_costs=TABLES[table])
    history = list(prompt)
    for token in answer:
        lookup.extend([token])
        history.append(token)
        draft = lookup.draft(most)
        assert len(draft) <= min(most, MOST_DRAFT)
        places = range(1, len(history) - len(draft) + 1)
        assert not draft or any(
            history[at : at + len(draft)] == draft and history[at - 1] == token for at in places
        )
    assert lookup.tokens == history


@settings(max_examples=300)
@given(prompt=few, answer=few)
def test_a_long_match_is_always_found(prompt, answer):
    lookup = Lookup(prompt)
    for token in answer:
        lookup.extend([token])
        text = lookup.tokens
        tail, ends = text[-LONG:], range(LONG, len(text))
        if len(text) >= LONG and any(text[end - LONG : end] == tail for end in ends):
            assert lookup._length >= LONG
        length = min(lookup._length, LONG)
        assert text[lookup._at - length : lookup._at] == text[len(text) - length :] or not length


@settings(max_examples=100)
@given(prompt=few.filter(len), answer=few, cuts=st.lists(st.integers(0, 60)))
def test_tokens_may_come_in_any_portions(prompt, answer, cuts):
    whole, parts = Lookup(prompt), Lookup(prompt)
    whole.extend(answer)
    for a, b in pairwise([0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]):
        parts.extend(answer[a:b])
    assert whole.draft(9) == parts.draft(9)


# ------------------------------------------------------------------------------- expectation


def test_costs_between_the_rows_of_the_table():
    costs = costs_by_rows(DENSE)
    assert len(costs) == MOST_DRAFT + 2
    assert costs[1:5] == pytest.approx([1.0, 1.20, 1.145, 1.09])
    assert costs[8] == 1.34
    assert costs[12] == pytest.approx((1.34 + 2.65) / 2)
    assert costs_by_rows({2: 1.5})[5] == pytest.approx(3.0)  # goes on as it began


@pytest.mark.parametrize(
    ("right", "table", "spare", "length"),
    [
        (0.95, "dense", 9, 7),  # 6.73 tokens for 1.34 steps; 15: 11.2 for 2.65
        (1.0, "dense", 9, 15),
        (0.05, "dense", 9, 0),  # at most 1.05 tokens for 1.09 steps
        (0.4, "moe", 9, 0),  # 1.4 for 1.45
        (0.5, "moe", 9, 1),  # 1.5 for 1.45; 3: 1.875 for 2.23
        (0.95, "moe", 9, 15),
        (0.95, "moe", 1.0, 2),  # more rows risk more than a step
        (0.95, "moe", 0.2, 0),
        (0.0, "free", 9, 0),
    ],
)
def test_the_best_length_by_hand(right, table, spare, length):
    assert best_length([right] * MOST_DRAFT, costs_by_rows(TABLES[table]), spare) == length


@given(
    right=st.lists(st.floats(0, 1), max_size=MOST_DRAFT),
    table=st.sampled_from(sorted(TABLES)),
)
def test_no_other_length_brings_more(right, table):
    costs = costs_by_rows(TABLES[table])

    def tokens_per_time(count: int) -> float:
        """The mean over every number of tokens that may turn out right."""
        total, reached = 0.0, 1.0
        for accepted in range(count + 1):
            goes_on = right[accepted] if accepted < count else 0.0
            total += reached * (1 - goes_on) * (accepted + 1)
            reached *= goes_on
        return total / costs[count + 1]

    best = best_length(right, costs, 99.0)
    most = max(tokens_per_time(count) for count in range(len(right) + 1))
    assert tokens_per_time(best) == pytest.approx(most)


@pytest.mark.parametrize(("table", "least"), [("dense", 4.5), ("moe", 2.5)])
def test_a_copy_with_an_edit_is_fast(table, least):
    edited = [*FILE[:130], 1, 2, *FILE[131:260], *FILE[270:]]
    assert speed(FILE, edited, table) > least


@pytest.mark.parametrize("table", ["dense", "moe"])
def test_drafts_grow_with_success(table):
    lookup, costs = Lookup(FILE, step_costs=TABLES[table]), costs_by_rows(TABLES[table])
    lookup.extend(FILE[:5])
    first = len(lookup.draft(99))
    write(lookup, FILE[5:300], costs)
    assert first < len(lookup.draft(99))
    assert len(lookup.draft(99)) >= 7


# ------------------------------------------------------------------------------ what it costs


@settings(max_examples=200, deadline=None)
@given(
    prompt=st.lists(st.integers(0, 3), max_size=200),
    answer=st.lists(st.integers(0, 3), min_size=1, max_size=400),
    table=st.sampled_from(["dense", "moe"]),
)
def test_no_text_loses_more_than_is_allowed(prompt, answer, table):
    time, _ = write(Lookup(prompt, step_costs=TABLES[table]), answer, costs_by_rows(TABLES[table]))
    assert time <= len(answer) * (1 + ALLOWANCE) + GRACE + 1e-9


@pytest.mark.parametrize("table", ["dense", "moe"])
def test_text_that_always_turns_away_loses_less_than_3_percent(table):
    """An adversary: whatever is drafted, something else comes."""
    lookup = Lookup([1, 2, 3, 4] * 50, step_costs=TABLES[table])
    costs, choice, time = costs_by_rows(TABLES[table]), random.Random(0), 0.0
    for _ in range(500):
        draft = lookup.draft(15)
        lookup.judged(len(draft), 0)
        wrong = draft[:1] or lookup.tokens[lookup._at : lookup._at + 1]
        lookup.extend([choice.choice([t for t in (1, 2, 3, 4) if [t] != wrong])])
        time += costs[len(draft) + 1]
    assert time < 1.03 * 500


@pytest.mark.parametrize(
    "text",
    [
        [7] * 4000,
        [7, 7, 7, 8] * 1000,
        random.Random(1).choices([1, 2], k=4000),
        [*range(200)] * 20,
    ],
    ids=["one", "period", "two", "block"],
)
def test_repetitive_text_stays_linear(text, monkeypatch):
    """Few comparisons for each token, however many places match."""
    compared = 0
    common = Lookup._common

    def counted(self: Lookup, end: int) -> int:
        nonlocal compared
        compared += 1
        return common(self, end)

    monkeypatch.setattr(Lookup, "_common", counted)
    lookup = Lookup(text[:2000])
    for token in text[2000:]:
        lookup.extend([token])
        lookup.draft(15)
    assert compared <= (2 * CANDIDATES + 1) * 2001


def test_counters():
    lookup = Lookup(FILE)
    lookup.judged(0, 0)
    lookup.judged(7, 3)
    lookup.judged(4, 4)
    assert (lookup.drafted, lookup.accepted) == (11, 7)
