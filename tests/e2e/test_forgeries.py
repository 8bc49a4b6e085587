"""No forgery passes: not one of the nineteen kinds, by whatever kind of tests it is judged."""

import subprocess
import sys
from collections import Counter

import pytest

from attacks.forgeries import CHECK, FORGERIES, HONEST, KINDS, Forgery
from midfill.errors import SandboxError
from midfill.sandbox import Limits, Sandbox

LIMITS = Limits(cpu_s=1, wall_s=3, memory_mb=256)
LONG = ("a million lists", "half an answer", "60 MB of text", "a huge number", "found in memory")
FAILED = (
    "wrong",
    "error",
    "timeout",
    "memory",
)  # infra would mean that a program can escape judgement
MANY = [forgery for forgery in FORGERIES if forgery.tests is None]


def shown(forgery: Forgery) -> str:
    return f"F{forgery.number} {forgery.name}"


@pytest.mark.parametrize(
    "forgery",
    [pytest.param(f, marks=[pytest.mark.slow] * f.name.endswith(LONG)) for f in FORGERIES],
    ids=shown,
)
def test_no_forgery_passes(sandbox: Sandbox, forgery: Forgery):
    tests = forgery.tests or CHECK
    verdict = sandbox.judge(forgery.program, tests, "f", limits=LIMITS)
    assert verdict.status in FAILED, verdict
    assert verdict.sealed


@pytest.mark.slow
@pytest.mark.parametrize("level", ["B", "C-strict"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_forgery_passes_by_any_kind_of_tests(kind: str, level):
    try:
        made = Sandbox(1, level=level)
    except SandboxError as refused:
        pytest.skip(f"no level {level} here: {refused.why}")
    told = Counter()
    with made:
        for forgery in MANY:
            verdict = made.judge(forgery.program, KINDS[kind], limits=LIMITS) if kind != "check" else (
                made.judge(forgery.program, CHECK, "f", limits=LIMITS)
            )  # fmt: skip
            assert verdict.status in FAILED, (shown(forgery), verdict)
            told[verdict.status] += 1
    print(f"{kind}, {level}: {dict(told)}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_are_such_that_an_honest_program_passes(sandbox: Sandbox, kind: str):
    method = "class Solution:\n    def f(self, x): return f(x)\n"
    verdict = sandbox.judge(f"{HONEST}\n{method}", KINDS[kind], "f" if kind == "check" else None)
    assert verdict.passed, verdict


FOOLED = {1, 2, 3, 4, 8, 17}  # those whose first variant a runner in one process believes


@pytest.mark.parametrize("number", sorted(FOOLED))
def test_a_runner_that_trusts_exit_statuses_is_fooled(number: int):
    forgery = next(f for f in FORGERIES if f.number == number)
    program = f"{forgery.program}\n{CHECK}\ncheck(f)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20)
    assert ended.returncode == 0
