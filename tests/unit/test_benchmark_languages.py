"""HumanEval in other languages."""

import pytest

from benchmark_rows import judged
from conftest import needs_data
from midfill.evaluate.benchmarks import benchmark, multilingual
from midfill.sandbox import Sandbox

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
