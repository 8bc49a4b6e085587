"""Results as a run would have made them, for tests that read results and run nothing."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from midfill.evaluate.result import (
    Baseline,
    Decoding,
    Judged,
    Result,
    SampleResult,
    SelfCheck,
    TaskResult,
    score_rules,
)
from midfill.sandbox.verdict import Limits

RULES = ("midfill", "deepseek-instruct", "evalplus", "livecodebench")
FAULTS = {
    "wrong": ("assert candidate([1, 2]) == 3: got 4", ""),
    "error": (
        "IndexError: list index out of range, line 7",
        "Traceback (most recent call last):\n",
    ),
    "timeout": ("3.0 s of processor time", "step 1\nstep 2\n"),
    "memory": ("512 MB", ""),
}


def sample(
    values: dict[str, float | None],
    status: str | None = None,
    *,
    code: str = "def f(x):\n    return x\n",
    **more: Any,
) -> SampleResult:
    """An answer with its value under each rule."""
    detail, output = FAULTS.get(status or "", ("", ""))
    rules = {
        rule: Judged(
            code=code,
            extracted=code,
            value=value,
            status="pass" if value == 1 else "infra" if value is None else status or "wrong",
            detail=detail if value != 1 else "",
            output=output if value != 1 else "",
            sealed=True,
            level="B",
            cpu_s=0.02,
            wall_s=0.03,
            syntax_valid=status != "error",
        )
        for rule, value in values.items()
    }
    known: dict[str, Any] = {"finish": "stop"} | more
    return SampleResult(completion=f"Sure!\n```python\n{code}```\n", rules=rules, **known)


def result(tasks: Sequence[TaskResult], **more: Any) -> Result:
    """A Result of these tasks."""
    rules = list(tasks[0].samples[0].rules)
    known: dict[str, Any] = {
        "benchmark": "humaneval",
        "version": "4dd1ee4a1f2c" + "0" * 52,
        "model": "made-up-1.5b",
        "style": "instruct",
        "decoding": Decoding(max_tokens=512),
        "judge": "midfill 0.4 sealed",
        "limits": Limits(),
        "level": "B",
        "rules": score_rules(tasks, rules),
        "tasks": tuple(tasks),
        "of": len(tasks),
    }
    return Result(**(known | more))


def one_answer_each(values: Mapping[str, float | None], **more: Any) -> Result:
    """A Result with one rule and one answer for each task."""
    tasks = [
        TaskResult(task_id=name, samples=(sample({"midfill": value}),))
        for name, value in values.items()
    ]
    return result(tasks, **more)


def humaneval(passed: int = 113, n: int = 164, seed: int = 0, **more: Any) -> Result:
    """Like a run of HumanEval: four rules, all kinds of failures, baselines, a self-check."""
    draw = random.Random(seed)
    good = set(draw.sample(range(n), passed))
    tasks = [_task(i, i in good, draw) for i in range(n)]
    known: dict[str, Any] = {
        "baselines": (
            Baseline(name="return None", value=0.0, n=n, passed=0),
            Baseline(name="echo of the doctest", value=12 / n, n=n, passed=12),
        ),
        "self_check": SelfCheck(
            canonical=n,
            canonical_passed=n - 1,
            failing={"HumanEval/32": "the check swaps its arguments (OriginFmt)"},
            mutants=328,
            mutants_killed=321,
            survivors={"HumanEval/5 #2": "equal to the reference on every input of the tests"},
        ),
        "environment": {"machine": "Zen 5, 2 cores", "python": "3.11.2", "midfill": "0.4.0"},
        "toolchains": {"python": "3.11.2"},
        "seeds": {"bootstrap": 0},
        "revision": "ea38149",
        "made": "2026-11-21 13:30",
        "seconds": 1284.0,
    }
    return result(tasks, **(known | more))


def _task(i: int, good: bool, draw: random.Random) -> TaskResult:
    status = "pass" if good else draw.choices(list(FAULTS), (60, 25, 10, 5))[0]
    tokens = int(draw.lognormvariate(4.7, 0.5))
    cut = not good and draw.random() < 0.1
    values: dict[str, float | None] = {rule: float(good) for rule in RULES}
    if good and draw.random() < 0.08:
        values["deepseek-instruct"] = 0.0
    if good and draw.random() < 0.04:
        values["livecodebench"] = 0.0
    name = f"task_{i}"
    code = (
        f'def {name}(numbers: list[int], limit: int = {i}) -> list[int]:\n    """Keep what is below '
        f'the limit."""\n    kept = []\n    for number in numbers:\n        if number < limit & 0xFF:\n'
        f"            kept.append(number)\n    return kept[:{i % 7}]\n"
    )
    answer = sample(
        values,
        status,
        code=code,
        tokens=512 if cut else min(tokens, 511),
        finish="length" if cut else "stop",
    )
    prompt = f'def {name}(numbers, limit):\n    """Keep what is below the limit."""\n'
    return TaskResult(task_id=f"HumanEval/{i}", samples=(answer,), prompt=prompt)


def needle() -> Result:
    """Found near the ends, lost in the middle of long contexts."""
    draw = random.Random(1)
    tasks = []
    for length in (1000, 2000, 4000, 8000, 16000, 32000):
        for depth in range(0, 101, 10):
            lost = max(0.0, length / 40000 * (1 - abs(depth - 45) / 50))
            for trial in range(5):
                tasks.append(
                    TaskResult(
                        task_id=f"needle/{length}/{depth}/{trial}",
                        samples=(sample({"first number": float(draw.random() > lost)}, tokens=6),),
                        place={"length": length, "depth": depth},
                    )
                )
    return result(tasks, benchmark="needle", level="-")


def infilling(passed: float = 0.42) -> Result:
    """Single-line infilling with its baselines and exact match."""
    draw = random.Random(2)
    tasks = []
    for i in range(200):
        value = float(draw.random() < passed)
        one = sample(
            {"fim-line": value, "human-eval": value},
            tokens=draw.randint(4, 40),
            code="    return x\n",
        )
        also = {"exact_match": value * float(draw.random() < 0.8)}
        rules = {rule: replace(judged, also=also) for rule, judged in one.rules.items()}
        one = replace(one, rules=rules)
        tasks.append(TaskResult(task_id=f"SingleLine/{i}", samples=(one,), prompt="def f(x):\n"))
    tables = {
        "nothing": (2.6, 0.0),
        "`pass`": (4.0, 0.1),
        "previous line": (1.8, 0.1),
        "next line": (1.7, 0.1),
        "line table": (2.9, 4.4),
    }
    baselines = tuple(
        Baseline(
            name=name,
            value=share / 100,
            n=1033,
            passed=round(share * 10.33),
            also={"exact_match": match / 100},
        )
        for name, (share, match) in tables.items()
    )
    return result(
        tasks, benchmark="infilling-single-line", of=1033, baselines=baselines, style="base"
    )
