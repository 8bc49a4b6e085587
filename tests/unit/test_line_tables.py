"""Lines guessed from tables: against the same tables made naively, in memory."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from midfill.evaluate import line_tables
from midfill.evaluate.code_lines import worth_asking
from midfill.evaluate.line_tables import (
    COMMONEST,
    PAIR,
    PREVIOUS,
    SAME_FILE,
    Frequent,
    LineTables,
    Place,
    absolute,
    relative,
)

LINES = ("if ready:", "    return value", "    count += 1", "    else:", "\treturn value", "", "}")
files = st.lists(st.sampled_from(LINES), max_size=20).map("\n".join)
languages = st.sampled_from(("Python", "Go"))
places = st.builds(
    Place, languages, st.sampled_from(("if ready:", "    else:")), st.sampled_from(LINES[1:3])
)


def naive(corpus, place: Place, others: list[str]) -> dict[str, str]:
    """Every line of every file with its neighbours, looked through anew for each question."""
    found: dict[str, list[str]] = {COMMONEST: [], PREVIOUS: [], PAIR: [], SAME_FILE: []}
    for language, text in corpus:
        said = [line for line in text.split("\n") if line.strip()]
        for i in range(1, len(said)):
            if language != place.language or not worth_asking(said[i]):
                continue
            shifted = relative(said[i], said[i - 1])
            behind = said[i + 1] if i + 1 < len(said) else ""
            found[COMMONEST].append(shifted)
            if said[i - 1].strip() == place.before.strip():
                found[PREVIOUS].append(shifted)
                if behind.strip() == place.behind.strip():
                    found[PAIR].append(shifted)
    for text in others:
        said = [line for line in text.split("\n") if line.strip()]
        for before, line in itertools.pairwise(said):
            if before.strip() == place.before.strip() and worth_asking(line):
                found[SAME_FILE].append(relative(line, before))

    def best(*names: str) -> str:
        counts = next((Counter(found[name]) for name in names if found[name]), Counter())
        top = [line for line in counts if counts[line] == max(counts.values())]
        return absolute(min(top), place.before) if top else ""

    return {
        COMMONEST: best(COMMONEST),
        PREVIOUS: best(PREVIOUS, COMMONEST),
        PAIR: best(PAIR, PREVIOUS, COMMONEST),
        SAME_FILE: best(SAME_FILE),
    }


@given(
    st.lists(st.tuples(languages, files), max_size=6),
    st.lists(places, min_size=1, max_size=4),
    st.lists(files, max_size=2),
)
def test_tables_are_those_made_naively(corpus, asked, others):
    tables = LineTables(asked)
    for language, text in corpus:
        tables.read(language, text)
    for place in asked:
        assert tables.guesses(place, others) == naive(corpus, place, others)


@given(st.text(" \t", max_size=6), st.text(" \t", max_size=6))
def test_a_line_behind_the_same_indentation_is_itself(own: str, other: str):
    line, before = f"{own}return 'a|b'", f"{other}if x:"
    assert absolute(relative(line, before), before) == line


def test_a_block_is_indented_as_the_line_that_opens_it():
    assert absolute(relative("        return 1", "    if x:"), "if y:") == "    return 1"
    assert absolute(relative("    b = 2", "        a = 1"), "                a = 1") == (
        "            b = 2"
    )


def test_counters_stay_small_and_keep_what_is_frequent():
    frequent = Frequent(most=50)
    for i in range(5_000):
        frequent.add(f"line {i}")
        if i % 10 == 0:
            frequent.add("often")
        assert len(frequent.counts) <= 50
    assert frequent.best == "often"
    assert line_tables.MOST > 1000
