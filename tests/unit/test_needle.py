"""The needle: where it lies, how long the text is, what counts as found."""

import itertools
import re
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.benchmarks import needle
from midfill.evaluate.benchmarks.repocompletion import about_tokens

SOURCES = Path(sysconfig.get_paths()["stdlib"]) / "asyncio"  # all of the library takes seconds


@pytest.fixture(scope="module")
def grid():
    return opened("needle", SOURCES, lengths=[1024, 4096], depths=3, trials=5)


def test_a_grid_has_all_its_trials(grid):
    tasks = grid.tasks("base")
    cells = {(task.row["length"], task.row["depth"]) for task in tasks}
    assert cells == {(length, depth) for length in (1024, 4096) for depth in (0, 50, 100)}
    assert len(tasks) == len({task.task_id for task in tasks}) == 2 * 3 * 5
    assert len({task.row["value"] for task in tasks}) == len(tasks)
    assert tasks[0].row["place"] == {"length": 1024, "depth": 0}


def test_defaults_are_the_papers_grid():
    benchmark = opened("needle")
    assert (len(benchmark.lengths), len(benchmark.depths), benchmark.trials) == (11, 11, 5)
    assert (benchmark.lengths[0], benchmark.lengths[-1]) == (1024, 131_072)
    assert (benchmark.depths[0], benchmark.depths[5], benchmark.depths[-1]) == (0, 50, 100)


@pytest.mark.parametrize(
    ("context", "lengths"),
    [(140_000, (1024, 4096)), (3000, (1024, 2872)), (700, (572,))],
)
def test_lengths_are_the_models_own_and_fit_it(grid, context: int, lengths: tuple[int, ...]):
    fitted = grid.for_model(lambda text: len(text) // 3, context)
    assert fitted.lengths == lengths
    longest = fitted.tasks("base")[-1].prompt.text or ""
    assert lengths[-1] - 128 < len(longest) // 3 <= lengths[-1]


@pytest.mark.parametrize("style", ["base", "instruct"])
def test_texts_have_their_length_and_the_needle_its_depth(grid, style):
    for task in grid.tasks(style):
        prompt, row = task.prompt, task.row
        text = prompt.text if prompt.messages is None else prompt.messages[0]["content"]
        assert text is not None
        assert row["length"] - 64 < about_tokens(text) <= row["length"]
        assert text.count(f"def {row['name']}():\n    return {row['value']}\n") == 1
        if row["length"] == 4096:
            at = 100 * text.index(f"def {row['name']}") / len(text)
            assert abs(at - row["depth"]) < 30  # the pieces in between are whole functions


def test_the_same_seed_gives_the_same_texts(grid):
    again = opened("needle", SOURCES, lengths=[1024, 4096], depths=3, trials=5)
    other = opened("needle", SOURCES, lengths=[1024, 4096], depths=3, trials=5, seed=1)
    assert again.tasks("base") == grid.tasks("base")
    assert again.version == grid.version != other.version
    assert other.tasks("base")[0].prompt != grid.tasks("base")[0].prompt


def test_two_similar_needles():
    benchmark = opened("needle", SOURCES, lengths=[2048], depths=[10], trials=4, similar=True)
    for task in benchmark.tasks("base"):
        text, row = task.prompt.text or "", task.row
        assert text.index(row["value"]) < text.index(row["decoy"])
        other = benchmark.program(task, row["decoy"])
        assert (other.value, other.also["similar"]) == (0, 1)
        names = re.findall(rf"def (\w+)\(\):\n    return (?:{row['value']}|{row['decoy']})", text)
        ours, theirs = (name.split("_") for name in names)
        assert sum(a != b for a, b in zip(ours, theirs, strict=True)) == 1


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (" 1234567\n", "1234567"),
        ("The number is 1,234,567.", "1234567"),
        ("1_234_567", "1234567"),
        ("12345678", "12345678"),
        ("none", ""),
    ],
)
def test_the_first_number_is_the_answer(grid, answer, taken):
    assert grid.extract(grid.tasks("base")[0], answer, "needle") == taken


def test_only_the_number_itself_is_right(grid):
    task = grid.tasks("base")[4]
    assert grid.program(task, grid.canonical(task)).value == 1
    assert grid.program(task, grid.canonical(task) + "0").value == 0
    assert grid.program(task, "").value == 0


def test_an_empty_grid_or_haystack_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="empty"):
        opened("needle", trials=0)
    (tmp_path / "x.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="nothing to hide"):
        opened("needle", tmp_path).tasks("base")


@settings(max_examples=10, deadline=None)
@given(count=st.integers(2, 40), last=st.integers(2000, 10**6))
def test_lengths_are_spread_evenly(count, last):
    found = needle.spread(1024, last, count)
    assert (found[0], found[-1], len(found)) == (1024, last, count)
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert max(steps) == pytest.approx(min(steps))
