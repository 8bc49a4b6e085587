"""HumanEval, MBPP, their plus versions and infilling: what runs and what passes."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark_rows import ADD, judged, opened
from conftest import needs_data
from midfill.evaluate.benchmarks import benchmark, plus
from midfill.evaluate.benchmarks.common import (
    assert_examples,
    called,
    doctest_examples,
    with_prelude,
)
from midfill.evaluate.task import Program
from midfill.sandbox import Sandbox


@needs_data("humaneval")
@pytest.mark.parametrize(
    ("number", "helper"), [(32, "poly"), (38, "encode_cyclic"), (50, "encode_shift")]
)
def test_helpers_of_the_tests_come_from_the_prompt(sandbox: Sandbox, number: int, helper: str):
    bench = benchmark("humaneval")
    task = bench.tasks("base")[number]
    work = bench.program(task, "")
    assert isinstance(work, Program)
    assert f"def {helper}(" in work.tests
    assert f"def {task.row['entry_point']}(" not in work.tests
    forged = f"def {helper}(*given):\n    return 0\ndef {work.entry_point}(*given):\n    return 0\n"
    assert judged(sandbox, bench, task, forged).value == 0


@needs_data("humaneval")
def test_only_three_test_programs_need_a_helper_and_all_are_called():
    bench = benchmark("humaneval")
    programs = [bench.program(task, "") for task in bench.tasks("base")]
    tests = [program.tests for program in programs if isinstance(program, Program)]
    assert sum("def poly" in text or "def encode_" in text for text in tests) == 3
    assert all(text.count("\ncheck(") == 1 for text in tests)


def test_the_prelude_brings_what_is_named_and_leaves_out_the_rest():
    code = with_prelude("from __future__ import annotations\ndef f(x: List):\n    return math.pi\n")
    assert code.startswith(
        "from __future__ import annotations\nimport math\nfrom typing import *\n"
    )
    assert "numpy" not in code
    assert "import re\n" not in code
    compile(code, "program", "exec")
    assert "import numpy as np\n" in with_prelude("np.zeros(3)")


def test_examples_are_read_out_of_a_docstring():
    assert doctest_examples(ADD["prompt"], "add") == [("add(1, 2)", "3")]
    assert doctest_examples(">>> other(1)\n2\n", "add") == []
    assert assert_examples(["assert f(1) == [2]", "assert not f(2)"], "f") == [("f(1)", "[2]")]


def test_the_tested_function_is_the_one_called_most():
    assert called(["assert set(f(1)) == g(2)", "assert f(2)"]) == "f"
    assert called(["assert sum([1]) == 1"], {"sum"}) == "sum"


def test_the_echo_passes_what_the_prompt_shows_and_nothing_else(sandbox: Sandbox, tmp_path: Path):
    bench = opened("humaneval", tmp_path, ADD)
    task = bench.tasks("base")[0]
    echo = bench.baselines(task)["echo"]
    assert judged(sandbox, bench, task, echo).value == 1
    more = replace(
        task, row={**task.row, "test": task.row["test"] + "    assert candidate(2, 2) == 4\n"}
    )
    assert judged(sandbox, bench, more, echo).value == 0


@pytest.mark.parametrize(
    ("got", "wanted", "atol", "same"),
    [
        (1.0, 1.0000004, 0, True),
        (1.0, 1.00001, 0, False),
        ([0.1, 0.2], [0.1, 0.2000001], 0, True),
        ((0.1,), [0.1], 0, False),
        ([0.1], [0.1, 0.1], 0, False),
        (1, 1.0000001, 0, False),  # not the same type
        (1, 1.0, 0, True),  # equal
        ("a", "b", 1e-6, False),
        (float("inf"), float("inf"), 0, True),
        (float("nan"), float("nan"), 0, False),
        ([1.0, "x"], [1.0, "x"], 0, True),
        (2, 3, 0, False),
    ],
)
def test_values_are_compared_as_evalplus_does(got, wanted, atol, same: bool):
    room: dict = {}
    exec(plus.COMPARE, room)
    try:
        found = room["_same"](got, wanted, atol)
    except TypeError:  # an assertion that raises is one that fails
        found = False
    assert found is same


@needs_data("mbpp+")
@pytest.mark.parametrize(
    ("number", "right", "wrong"),
    [
        (2, "return list(dict.fromkeys(x for x in a if x in b))[::-1]", "return [*a, 10**9]"),
        (737, "import re\n    return re.match('[aeiouAEIOU]', a)", "return a"),
    ],
)
def test_special_oracles(sandbox: Sandbox, number: int, right: str, wrong: str):
    bench = benchmark("mbpp+")
    task = next(task for task in bench.tasks("base") if task.task_id == f"Mbpp/{number}")
    name = plus.entry_point(task.row)
    for body, value in ((right, 1), (wrong, 0)):
        program = f"def {name}(a, b=None):\n    {body}\n"
        score = judged(sandbox, bench, task, program)
        assert score.value == value, score.detail


@needs_data("infilling-single-line")
def test_a_line_is_taken_with_its_indentation_and_compared_without(sandbox: Sandbox):
    bench = benchmark("infilling-single-line")
    task = bench.tasks("base")[0]
    wanted = bench.canonical(task) or ""
    completion = "\n" + wanted + "        return 7\n"
    line = bench.extract(task, completion, "fim-line")
    assert line == wanted
    assert bench.measures(task, completion, line)["exact_match"] == 1  # type: ignore[attr-defined]
    assert bench.extract(task, completion, "fim-line-raw") == "\n"
    assert bench.extract(task, completion, "human-eval") == completion
    assert judged(sandbox, bench, task, line).value == 1
    ran_on = wanted + task.row["suffix"]
    assert bench.measures(task, ran_on, wanted)["ran past the hole"] == 1  # type: ignore[attr-defined]


@needs_data("infilling-single-line")
def test_line_tables_match_some_lines_and_know_nothing_of_their_own_problem():
    bench = benchmark("infilling-single-line")
    tasks = bench.tasks("base")
    hits = {
        how: sum(
            bench.baselines(task)[how].strip() == (bench.canonical(task) or "").strip()
            for task in tasks
        )
        for how in ("nothing", "pass", "previous line", "next line", "line table")
    }
    assert 0.04 < hits.pop("line table") / len(tasks) < 0.07
    assert max(hits.values()) <= 1  # measured for the specification: 0.1 % at most
