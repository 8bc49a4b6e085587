"""Benchmarks over rows made here or found on this disk, and how an answer is judged."""

import json
from pathlib import Path

from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.task import Benchmark, Score, Task
from midfill.evaluate.work import judge_work
from midfill.sandbox import Sandbox

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
