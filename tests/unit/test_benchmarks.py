"""Each benchmark: how it asks, what it runs, what passes and what does not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import needs_data
from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import benchmark, multilingual, names, plus
from midfill.evaluate.benchmarks.common import (
    assert_examples,
    called,
    doctest_examples,
    with_prelude,
)
from midfill.evaluate.benchmarks.edit import Beside
from midfill.evaluate.judging import Judge
from midfill.evaluate.mutants import mutants
from midfill.evaluate.task import Benchmark, Program, Score, Task
from midfill.evaluate.verdicts import Verdicts
from midfill.evaluate.work import judge_work
from midfill.sandbox import Limits, Sandbox
from midfill.sandbox.verdict import Verdict

PYTHON = "humaneval humaneval+ humaneval-python mbpp mbpp+".split()
INFILLING = [f"infilling-{kind}" for kind in ("single-line", "multi-line", "random-span")]
CRUXEVAL = [f"cruxeval-{half}" for half in ("i", "o", "i-cot", "o-cot")]
ALL = [*PYTHON, *INFILLING, *CRUXEVAL, "gsm8k", "math", "repair", "edit"]
ADD = {
    "task_id": "X/0",
    "prompt": 'def add(a, b):\n    """\n    >>> add(1, 2)\n    3\n    """\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}
MBPP = [
    {
        "task_id": number,
        "text": f"Write f{number}.",
        "code": f"def f{number}(x):\r\n\treturn x",
        "test_list": [f"assert f{number}(1) == 1", f"assert f{number}(2) == 2"],
        "test_setup_code": "",
    }
    for number in (2, 3, 4, 11, 511)
]


def opened(name: str, tmp_path: Path, *rows: dict) -> Benchmark:
    """A benchmark over rows made here."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return benchmark(name, path)


def judged(sandbox: Sandbox, bench: Benchmark, task: Task, extracted: str) -> Score:
    work = bench.program(task, extracted)
    return work if isinstance(work, Score) else judge_work(work, sandbox)


def some(bench: Benchmark, count: int) -> list[Task]:
    tasks = bench.tasks("instruct")
    return tasks[:: max(len(tasks) // count, 1)][:count]


# --- names ----------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_design():
    wanted = {*ALL, *(f"humaneval-{ending}" for ending in multilingual.LANGUAGES)}
    assert wanted <= set(names())
    assert len(multilingual.LANGUAGES) == 19


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError) as caught:
        benchmark("humanevl")
    assert caught.value.why == "the nearest name is 'humaneval'"


# --- how it asks ----------------------------------------------------------------------------------


def test_humaneval_asks_as_the_papers_do(tmp_path: Path):
    bench = opened("humaneval", tmp_path, ADD)
    base, first, second = (
        bench.tasks(style)[0].prompt for style in ("base", "instruct-v1", "instruct")
    )
    assert base.text == ADD["prompt"].strip()
    assert base.stop == ("\ndef", "\nclass", "\nif", "\n#", "\nprint")
    assert base.max_tokens == 500
    assert first.messages
    assert second.messages
    assert [first.messages[0]["role"], len(first.messages)] == ["user", 1]
    assert first.messages[0]["content"] == (
        "Please continue to complete the function. You are not allowed to modify the given code "
        "and do the completion only. Please return all completed function in a codeblock. Here is "
        f"the given code to do completion:\n```python\n{ADD['prompt'].strip()}\n```"
    )
    assert (first.stop, first.max_tokens) == (("<|EOT|>",), 1024)
    assert second.messages[0]["content"] == (
        "Please complete the python function below. The final complete version of your function "
        "must be returned within a code block. Here is the unfinished function:\n ```python\n"
        f"{ADD['prompt']}\n\n"
    )


def test_mbpp_asks_with_three_examples(tmp_path: Path):
    bench = opened("mbpp", tmp_path, *MBPP)
    [base], [chat] = bench.tasks("base"), bench.tasks("instruct")
    assert base.task_id == "MBPP/11"  # 511 belongs to the training set
    begin = "You are an expert Python programmer, and here is your task: Write f{n}. Your code should pass these tests:\n\nassert f{n}(1) == 1\nassert f{n}(2) == 2\n[BEGIN]"
    solved = "\ndef f{n}(x):\n    return x\n[DONE]\n"
    shots = "".join((begin + solved).replace("{n}", str(n)) for n in (2, 3, 4))
    assert base.prompt.text == shots + begin.replace("{n}", "11")
    assert (base.prompt.stop, base.prompt.max_tokens) == (("[DONE]",), 500)
    assert chat.prompt.messages
    content = chat.prompt.messages[0]["content"]
    assert content.startswith(
        "Please refer the given examples and generate a python function for my problem.\n"
        "Examples are listed as follows:\n"
        "- Example 1:\n>>> Problem:\nWrite f2.\n>>> Test Cases:\nassert f2(1) == 1\n"
        "assert f2(2) == 2\n\n>>> Code:\n```python\ndef f2(x):\n    return x\n```\n\n"
        "- Example 2:\n"
    )
    assert content.endswith(
        "\n```\n\nHere is my problem:\n>>> Problem:\nWrite f11.\n>>> Test Cases:\n"
        "assert f11(1) == 1\nassert f11(2) == 2\n"
    )
    assert chat.prompt.max_tokens == 512


@needs_data("mbpp")
def test_all_three_examples_of_mbpp_always_fit():
    longest = max(len(task.prompt.text or "") for task in benchmark("mbpp").tasks("base"))
    assert longest < 2.5 * (4096 - 500)  # no code vocabulary needs a token for so few characters


@needs_data("mbpp+")
def test_mbpp_plus_asks_as_evalplus_does():
    bench = benchmark("mbpp+")
    base, chat = bench.tasks("base")[0], bench.tasks("instruct")[0]
    prompt = base.prompt.text or ""
    assert prompt == (
        '"""\nWrite a function to find the shared elements from the given two lists.\n'
        'assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))\n"""\n'
    )
    assert '\n"""' in base.prompt.stop
    assert "\nassert" in base.prompt.stop
    assert chat.prompt.messages
    assert chat.prompt.messages[0]["content"] == (
        "Please provide a self-contained Python script that solves the following problem in a "
        f"markdown code block:\n```\n{prompt.strip()}\n```\n"
    )
    assert chat.prompt.answer_start.endswith("passes corresponding tests:\n```python\n")
    assert {"<|endoftext|>", "\nif __name__", "\ndef main(", "\nprint("} <= set(chat.prompt.stop)
    assert not any("http" in (task.prompt.text or "") for task in bench.tasks("base"))


def test_cruxeval_asks_for_the_right_half(tmp_path: Path):
    row = {"id": "s", "code": "def f(x):\n    return {x}", "input": "{input}", "output": "{code}"}
    for half, ends in {
        "cruxeval-o": "assert f({input}) == ??\n[/PYTHON]\n[ANSWER]\n",
        "cruxeval-o-cot": "assert f({input}) == ??\n[/PYTHON]\n[THOUGHT]\n",
        "cruxeval-i": "assert f(??) == {code}\n[/PYTHON]\n[ANSWER]\n",
        "cruxeval-i-cot": "assert f(??) == {code}\n[/PYTHON]\n[THOUGHT]\n",
    }.items():
        bench = opened(half, tmp_path, row)
        assert bench.name == half
        base, chat = bench.tasks("base")[0].prompt, bench.tasks("instruct")[0].prompt
        assert base.text
        assert base.text.endswith("[PYTHON]\n" + row["code"] + "\n" + ends)
        assert chat.messages == ({"role": "user", "content": base.text},)
        assert base.stop == ("[/ANSWER]",)
        assert base.text.count("[THOUGHT]") == (2 if half.endswith("cot") else 0)
        assert "{space}" not in base.text


def test_maths_are_asked_for_a_box(tmp_path: Path):
    bench = opened("gsm8k", tmp_path, {"question": "1 + 1?", "answer": "so\n#### 2"})
    prompt = bench.tasks("instruct")[0].prompt
    assert prompt.messages
    assert prompt.messages[0]["content"] == (
        "1 + 1?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


@needs_data("infilling-single-line")
def test_a_hole_is_asked_for_by_what_stands_around_it():
    task = benchmark("infilling-single-line").tasks("base")[0]
    assert task.prompt.text is None
    assert task.prompt.prefix == task.row["prompt"]
    assert task.prompt.suffix == task.row["suffix"]


@pytest.mark.parametrize("name", ALL)
def test_every_style_asks_every_task(name: str):
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    for style in ("base", "instruct", "instruct-v1"):
        tasks = bench.tasks(style)
        assert len({task.task_id for task in tasks}) == len(tasks)
        for task in tasks:
            ways = (task.prompt.text, task.prompt.prefix, task.prompt.messages)
            assert sum(way is not None for way in ways) == 1


# --- what passes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_some_references_pass_and_baselines_can_be_judged(sandbox: Sandbox, name: str):
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    for task in some(bench, 2):
        if task.language == "java":
            continue  # a compiler each: see the slow test
        reference = bench.canonical(task)
        assert reference is not None
        score = judged(sandbox, bench, task, reference)
        assert score.value == 1, f"{task.task_id}: {score.detail}"
        baselines = bench.baselines(task)
        assert baselines
        for how, text in baselines.items():
            assert isinstance(bench.program(task, text), Program | Score | Beside), how


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("humaneval", 164),
        ("mbpp", 500),
        ("humaneval-python", 164),
        ("cruxeval-o", 800),
        ("edit", 106),
    ],
)
def test_every_reference_passes(sandbox: Sandbox, name: str, count: int):
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    tasks = bench.tasks("instruct")
    failing = {
        task.task_id: score.detail
        for task in tasks
        if (score := judged(sandbox, bench, task, bench.canonical(task) or "")).value != 1
    }
    assert failing == {}
    assert len(tasks) == count


@needs_data("humaneval", "mbpp")
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_mutants_and_trivial_answers_fail(sandbox: Sandbox, name: str):
    bench = benchmark(name)
    killed = alive = 0
    for task in some(bench, 4):
        reference = bench.canonical(task) or ""
        point = task.row.get("entry_point")
        for mutant in mutants(reference, point, most=2):
            work = bench.program(task, mutant.code)
            assert isinstance(work, Program)
            score = judge_work(replace(work, limits=Limits(cpu_s=1)), sandbox)
            killed, alive = killed + (score.value == 0), alive + (score.value != 0)
        assert judged(sandbox, bench, task, bench.baselines(task)["return None"]).value == 0
    assert killed >= 6 * alive


# --- HumanEval ------------------------------------------------------------------------------------


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


# --- HumanEval+ and MBPP+ -------------------------------------------------------------------------


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


# --- infilling ------------------------------------------------------------------------------------


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


# --- other languages ------------------------------------------------------------------------------


DENOMINATORS = {  # of Table 3 of DeepSeek-Coder-V2
    "python": 164, "java": 158, "cpp": 161, "cs": 158, "ts": 159, "js": 161, "php": 161, "sh": 158,
    "swift": 158, "r": 161, "jl": 159, "d": 156, "rs": 156, "rkt": 161,
}  # fmt: skip


@pytest.mark.parametrize("ending", multilingual.LANGUAGES)
def test_every_language_has_its_tasks_and_names_the_function(ending: str):
    name = f"humaneval-{ending}"
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    tasks = bench.tasks("instruct")
    assert len(tasks) == DENOMINATORS.get(ending, len(tasks))
    for task in tasks:
        point = multilingual.entry_point(task.row, task.language)
        assert point
        assert point in task.row["prompt"]
        assert task.prompt.messages
        assert f"\n ```{task.language}\n" in task.prompt.messages[0]["content"]


@pytest.mark.parametrize(
    ("prompt", "test", "answer", "kept"),
    [
        (
            "int f() {\n",
            "}\nint main() {}\n",
            "int f() {\n  return 1;\n}\n",
            "int f() {\n  return 1;\n",
        ),
        (
            "int f() {\n",
            "}\nint main() {}\n",
            "int f() {\n  return 1;\n",
            "int f() {\n  return 1;\n",
        ),
        (
            "class P {\n  static int f() {\n",
            "  }\n  void main() {}\n}\n",
            "class P {\n  static int f() {\n    return 1; // }\n  }\n}\n",
            "class P {\n  static int f() {\n    return 1; // }\n",
        ),
        ("f() {\n", "\ntest();\n", "f() {\n}\n", "f() {\n}\n"),
        ("f() {\n", "}\ng", 'f() {\n  return "}";\n}', 'f() {\n  return "}";\n'),
    ],
)
def test_braces_that_the_tests_bring_are_taken_off(prompt: str, test: str, answer: str, kept: str):
    assert multilingual.reopened(answer, prompt, test) == kept


def test_preludes_add_only_what_is_missing():
    cpp = multilingual.preluded("#include<vector>\nint f() {", "cpp")
    assert cpp.count("#include<vector>") == 1
    assert "#include<cassert>\n" in cpp
    assert multilingual.preluded("x", "php") == "<?php\nx"
    assert multilingual.preluded("<?php\nx", "php") == "<?php\nx"
    assert multilingual.preluded("x", "lua") == "x"


@needs_data("humaneval-sh")
def test_an_answer_in_bash_passes_whole_or_open(sandbox: Sandbox):
    bench = benchmark("humaneval-sh")
    task = next(task for task in bench.tasks("base") if task.task_id == "HumanEval_23_strlen")
    for answer in ('  echo "${#1}"\n', '  echo "${#1}"\n}\n'):
        score = judged(sandbox, bench, task, task.row["prompt"] + answer)
        if score.value is None:
            pytest.skip(score.detail)
        assert score.value == 1
    assert judged(sandbox, bench, task, task.row["prompt"] + "  echo 3\n").value == 0


# --- CRUXEval, maths ------------------------------------------------------------------------------


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


# --- repair, edit ---------------------------------------------------------------------------------


@needs_data("repair")
@pytest.mark.parametrize("name", ["gcd", "kheapsort", "reverse_linked_list", "wrap"])
def test_a_bug_fails_and_its_repair_passes(sandbox: Sandbox, name: str):
    bench = benchmark("repair")
    task = next(task for task in bench.tasks("base") if task.task_id == f"python/{name}")
    assert judged(sandbox, bench, task, bench.canonical(task) or "").value == 1
    assert judged(sandbox, bench, task, bench.baselines(task)["unchanged"]).value == 0


@needs_data("repair")
def test_a_repair_that_only_knows_the_tests_is_plausible_and_not_correct(sandbox: Sandbox):
    bench = benchmark("repair")
    task = next(task for task in bench.tasks("base") if task.task_id == "python/bitcount")
    cases = [json.loads(line) for line in task.row["json_testcases"].split("\n") if line]
    known = {given[0]: wanted for given, wanted in cases}
    score = judged(sandbox, bench, task, f"def bitcount(n):\n    return {known}.get(n)\n")
    assert score.value == 0
    assert bench.measures_of(score) == {"plausible": 1}  # type: ignore[attr-defined]
    broken = judged(sandbox, bench, task, "def bitcount(n):\n    return 0\n")
    assert bench.measures_of(broken) == {"plausible": 0}  # type: ignore[attr-defined]
    with Judge(bench, Verdicts(None), workers=1) as judge:  # and a run counts them apart
        told = judge.begin_extracted(task, f"def bitcount(n):\n    return {known}.get(n)\n")
        assert (told.result().value, told.result().also["plausible"]) == (0, 1)


@needs_data("repair")
def test_a_diff_is_a_repair_too(sandbox: Sandbox):
    bench = benchmark("repair")
    task = next(task for task in bench.tasks("base") if task.task_id == "python/bitcount")
    reply = "Here:\n```diff\n--- a\n+++ b\n@@ -4 +4 @@\n     while n:\n-        n ^= n - 1\n+        n &= n - 1\n```\n"
    assert judged(sandbox, bench, task, bench.extract(task, reply, "midfill")).value == 1
    other = bench.extract(task, reply.replace("while n:", "while m:"), "midfill")
    score = judged(sandbox, bench, task, other)
    assert (score.value, "does not apply" in score.detail) == (0, True)


@needs_data("repair")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_repairs_in_java(sandbox: Sandbox):
    bench = benchmark("repair")
    for task in [task for task in bench.tasks("base") if task.language == "java"][::8]:
        score = judged(sandbox, bench, task, bench.canonical(task) or "")
        if score.value is None:
            pytest.skip(score.detail)
        assert score.value == 1, f"{task.task_id}: {score.detail}"
        assert judged(sandbox, bench, task, bench.baselines(task)["unchanged"]).value == 0


@needs_data("edit")
def test_exercises_are_judged_sealed_where_values_are_all_that_cross(sandbox: Sandbox):
    bench = benchmark("edit")
    tasks = {task.task_id: task for task in bench.tasks("instruct")}
    for name, sealed in (("acronym", True), ("clock", False)):
        task = tasks[name]
        score = judged(sandbox, bench, task, bench.canonical(task) or "")
        assert score.verdict
        assert (score.value, score.verdict.sealed) == (1, sealed)
        stub = judged(sandbox, bench, task, bench.baselines(task)["the stub"])
        assert stub.value == 0


@needs_data("edit")
def test_the_second_try_sees_what_the_tests_said():
    bench = benchmark("edit")
    task = bench.tasks("instruct")[0]
    verdict = Verdict(
        status="wrong", sealed=True, level="B", detail="2 is not 3", output="x\n" * 99
    )
    again = bench.retry(task, "my try", verdict).prompt.messages  # type: ignore[attr-defined]
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"]
    assert again[2]["content"].startswith("2 is not 3\n")
    assert again[2]["content"].count("\nx") < 60
    assert "Fix the code in accumulate.py to resolve the errors.\n" in again[2]["content"]


@needs_data("edit")
def test_a_reply_is_well_formed_when_it_names_its_file():
    bench = benchmark("edit")
    task = bench.tasks("instruct")[0]
    for reply, formed in (
        ("accumulate.py\n```\nx = 1\n```\n", 1),
        ("**accumulate.py**\n```python\nx = 1\n```", 1),
        ("```\nx = 1\n```\n", 0),
        ("accumulate.py\n```\nx = 1\n```\n```\ny\n```\n", 0),
    ):
        assert bench.measures(task, reply, "x = 1")["well formed"] == formed  # type: ignore[attr-defined]
