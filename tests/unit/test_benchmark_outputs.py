"""CRUXEval and mathematics: answers that are compared, under both rules."""

from pathlib import Path

import pytest

from benchmark_rows import judged, opened
from midfill.evaluate.task import Score
from midfill.sandbox import Sandbox

CRUX = {"id": "s", "code": "def f(a, b):\n    return a + b", "input": "1, 2", "output": "3"}


@pytest.mark.parametrize(
    ("name", "completion", "published", "ours"),
    [
        ("cruxeval-o", "assert f(1, 2) == 3\n[/ANSWER] and", 1, 1),
        ("cruxeval-o", "3", 1, 1),
        ("cruxeval-o", "assert f(1, 2) == 1 + 2", 1, 0),  # no literal
        ("cruxeval-o", "assert f(1, 2) == 4", 0, 0),
        ("cruxeval-o", "", 0, 0),
        ("cruxeval-o", "it is three", 0, 0),
        ("cruxeval-o-cot", "so\n[/THOUGHT]\n[ANSWER]\nassert f(1, 2) == 3\n", 1, 1),
        ("cruxeval-i", "assert f(0, 3) == 3", 1, 1),
        ("cruxeval-i", "assert f(0, int('3')) == 3", 1, 0),
        ("cruxeval-i", "assert f(1, 1) == 3", 0, 0),
        ("cruxeval-i-cot", "well\n[ANSWER]\nassert f(2, 1) == 3\n[/ANSWER]", 1, 1),
    ],
)
def test_cruxeval_under_both_rules(
    sandbox: Sandbox, tmp_path: Path, name: str, completion: str, published: int, ours: int
):
    bench = opened(name, tmp_path, CRUX)
    for style in ("base", "instruct"):
        [task] = bench.tasks(style)
        for rule, value in (("cruxeval", published), ("midfill", ours)):
            score = judged(sandbox, bench, task, bench.extract(task, completion, rule))
            assert score.value == value, (rule, score.detail)


@pytest.mark.parametrize(
    ("completion", "boxed", "ours"),
    [
        (r"so $\boxed{1,234}$.", 1, 1),
        (r"\boxed{7} no, \boxed{1234 \text{ ducks}}", 1, 1),
        ("The answer is $1234.", 0, 1),
        (r"\boxed{7} 1234", 0, 0),
        ("", 0, 0),
    ],
)
def test_gsm8k_needs_no_package(tmp_path: Path, completion: str, boxed: int, ours: int):
    row = {"question": "How many of 99?", "answer": "it is <<1234=1234>>1234\n#### 1,234"}
    bench = opened("gsm8k", tmp_path, row)
    [task] = bench.tasks("base")
    for rule, value in (("boxed", boxed), ("midfill", ours)):
        score = bench.program(task, bench.extract(task, completion, rule))
        assert isinstance(score, Score)
        assert score.value == value
    assert bench.baselines(task) == {"last number of the question": "99"}
