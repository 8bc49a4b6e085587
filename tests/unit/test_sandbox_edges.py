"""Odd programs, odd tests and odd moments: nobody crashes the supervisor, nothing passes unjudged."""

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from midfill.errors import SandboxError
from midfill.sandbox import InfraError, Limits, Sandbox, worker
from midfill.sandbox.places import remove_tree
from midfill.sandbox.sandbox import why_not

QUICK = Limits(cpu_s=1, wall_s=3, memory_mb=256)
WRONG = "def f(x): return 0"
RIGHT = "def f(x): return x * x"
CHECK = "def check(candidate):\n    assert candidate(3) == 9\n"


@pytest.fixture(scope="module")
def sandbox():
    try:
        made = Sandbox(2)
    except SandboxError as refused:
        pytest.skip(f"no sandbox here: {refused.why}")
    with made:
        yield made


@pytest.mark.parametrize("language", ["python", "py", "Python", "python3", "PYTHON"])
def test_python_is_sealed_by_whatever_name(sandbox: Sandbox, language: str):
    wrong = sandbox.judge(WRONG, CHECK, "f", language)
    assert (wrong.status, wrong.sealed) == ("wrong", True)
    assert sandbox.judge(RIGHT, CHECK, "f", language).passed


ENDLESS = {
    "zip": "for got, want in zip(map(f, [3, 4]), [9, 16]): assert got == want",
    "all": "assert all(map(lambda x: f(x) == x * x, [3, 4]))",
    "generator": "assert not [x for x in map(f, [3]) if x != 9]",
}


@pytest.mark.parametrize("tests", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("what", ["StopIteration", "type('Own', (StopIteration,), {})"])
def test_a_program_cannot_end_the_loops_of_its_tests(sandbox: Sandbox, tests: str, what: str):
    program = f"class Own(StopIteration): pass\ndef f(x): raise {what}"
    assert sandbox.judge(program, tests).status == "error"
    assert sandbox.judge(RIGHT, tests).passed


NEVER_RUN = {
    "async": "async def test_f(): assert f(3) == 9",
    "generator": "def test_f():\n    yield f(3) == 9",
    "not called": "def test_a(): pass",
    "empty check": "def check(candidate): pass",
    "pytest class": "assert f(0) == 0\nclass TestF:\n    def test_f(self): assert f(3) == 9",
    "arguments": "assert f(0) == 0\ndef test_f(x): assert f(3) == 9",
    "async method": """
        import unittest
        assert f(0) == 0
        class T(unittest.TestCase):
            async def test_f(self): assert f(3) == 9
    """,
}


@pytest.mark.parametrize("tests", NEVER_RUN.values(), ids=NEVER_RUN)
def test_tests_that_are_never_run_say_nothing(sandbox: Sandbox, tests: str):
    for program in (WRONG, RIGHT):
        verdict = sandbox.judge(program, textwrap.dedent(tests), "f")
        assert verdict.status == "infra", verdict
        assert verdict.detail


RUN = {
    "patched": """
        from unittest import mock
        @mock.patch("os.getcwd", lambda: "/")
        def test_f(): assert f(3) == 9
    """,
    "awaited": """
        import unittest
        class T(unittest.IsolatedAsyncioTestCase):
            async def test_f(self): assert f(3) == 9
    """,
    "class fixture": """
        import unittest
        def setUpModule(): global given; given = 3
        class T(unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.wanted = 9
            def test_f(self): self.assertEqual(f(given), self.wanted)
    """,
    "skipped and expected": """
        import unittest
        class T(unittest.TestCase):
            @unittest.skip("not here")
            def test_a(self): assert False
            @unittest.expectedFailure
            def test_b(self): assert False
            def test_f(self):
                with self.subTest(3): assert f(3) == 9
    """,
}


@pytest.mark.parametrize("tests", RUN.values(), ids=RUN)
def test_forms_of_tests_are_run_as_their_authors_expect(sandbox: Sandbox, tests: str):
    assert sandbox.judge(RIGHT, textwrap.dedent(tests)).status == "pass"
    assert sandbox.judge(WRONG, textwrap.dedent(tests)).status == "wrong"


def test_an_expected_failure_that_does_not_fail_is_one(sandbox: Sandbox):
    tests = """
        import unittest
        class T(unittest.TestCase):
            @unittest.expectedFailure
            def test_b(self): assert f(3) == 9
    """
    assert sandbox.judge(RIGHT, textwrap.dedent(tests)).status == "wrong"


OWN = """
class Bad(ValueError): pass
class Point:
    def __init__(self, x): self.x, self.inner = x, []
    def norm(self): return abs(self.x)
    def add(self, n): self.inner.append(n); return self
origin = Point(-3)
def make(x): return Point(x)
def fail(x): raise Bad(f"no {x}")
def fill(pair): pair[0].append(1)
"""


@pytest.mark.parametrize(
    "tests",
    [
        "try:\n    fail(1)\n    assert False\nexcept Bad as e:\n    assert str(e) == 'no 1'",
        "try:\n    fail(1)\n    assert False\nexcept ValueError:\n    pass",
        "import pickle\ntry:\n    fail(1)\nexcept (KeyError, Bad):\n    pass\nelse: assert False",
        "assert make(-2).x == -2\nassert make(-2).norm() == 2",
        "assert origin.x == -3\nassert make(1) is not None",
        "assert make(1).add(5).inner == [5]",
        "a = ([], 2)\nfill(a)\nassert a == ([1], 2)",
        "from solution import Bad, fail, make\nassert make(4).x == 4\n"
        "try:\n    fail(1)\nexcept Bad: pass",
    ],
)
def test_classes_and_exceptions_of_the_program_can_be_used(sandbox: Sandbox, tests: str):
    assert sandbox.judge(OWN, tests).passed, sandbox.judge(OWN, tests)


IDENTITY = "held = object()\ndef same(x): return held\n" + OWN


@pytest.mark.parametrize(
    ("tests", "entry_point"),
    [
        ("assert same(1) is same(2)\nassert isinstance(make(1), Point)", None),
        ("def check(candidate): assert candidate(1) is held", "same"),
        ("def test_it(): assert same(1) is held", None),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): assert same(1) is held",
            None,
        ),
    ],
)
def test_unsealed_tests_meet_the_very_objects(sandbox: Sandbox, tests: str, entry_point: str):
    if sandbox.level == "C-strict":
        pytest.skip("level C-strict runs no commands")
    told = sandbox.judge(IDENTITY, tests, entry_point, sealed=False)
    assert (told.status, told.sealed) == ("pass", False), told
    other = IDENTITY.replace("return held", "return 0").replace("Point(x)", "0")
    assert sandbox.judge(other, tests, entry_point, sealed=False).status == "wrong"
    assert (
        sandbox.judge("import os\nos._exit(0)", tests, entry_point, sealed=False).status == "error"
    )


def test_unsealed_tests_that_cannot_be_run_say_nothing(sandbox: Sandbox):
    for tests in ("def check(candidate): pass", "def ("):
        assert sandbox.judge(RIGHT, tests, sealed=False).status == "infra"


RAW = """
import sys
line = sys._getframe(1).f_locals["calls"]
from midfill.sandbox.calls import answer
def f(x):
    line.send_bytes({answer})
"""


@pytest.mark.parametrize(
    "answer",
    [
        r"answer(2, 'raised', ('ValueError', 'a \ud800'))",
        r"answer(2, 'unreadable', 'a \ud800')",
        r"answer(2, 'raised', ('ValueError', 'x' * 10 ** 6))",
        r"answer(2, 'raised', ('x' * 10 ** 6, ''))",
        r"answer(2, 'raised', 7)",
        r"answer(2, 'changed', 7)",
        r"answer(2, 'changed', (1, b'x'))",
        r"answer(2, 'method', 9)",
        r"answer(2, 'names', 9)",
        r"b'\x02\0\0\0\x09'",
        r"b''",
    ],
)
def test_no_answer_crashes_the_supervisor(sandbox: Sandbox, answer: str):
    started = time.monotonic()
    verdict = sandbox.judge(RAW.format(answer=answer), "assert f(3) == 9.5", limits=QUICK)
    assert verdict.status in ("error", "wrong"), verdict
    assert verdict.detail.encode()
    assert len(verdict.detail) < 5000
    assert time.monotonic() - started < 2 * QUICK.wall_s, "nothing was too long to be reported"


def test_tests_that_forge_their_own_report_crash_nobody(sandbox: Sandbox):
    tests = (
        "import sys\nsys._getframe(3).f_locals['report'].send(('pass', 5))\nimport os\nos._exit(0)"
    )
    assert sandbox.judge(RIGHT, tests).status in ("error", "infra")


@pytest.mark.parametrize("number", [9, 11, 34, 40, 64])
def test_any_signal_has_a_name(sandbox: Sandbox, number: int):
    verdict = sandbox.judge(RIGHT, f"import os\nassert f(2) == 4\nos.kill(os.getpid(), {number})")
    assert verdict.status == "error", verdict
    assert "SIG" in verdict.detail


def test_a_tree_too_deep_for_a_path_is_removed(tmp_path: Path):
    top, back = tmp_path / "top", Path.cwd()
    (top / "locked" / "in").mkdir(parents=True)
    (tmp_path / "kept").write_text("x")
    try:
        os.chdir(top)
        for _ in range(1500):
            Path("folder").mkdir()
            os.chdir("folder")
            Path("link").symlink_to(tmp_path / "kept")
    finally:
        os.chdir(back)
    (top / "locked").chmod(0)
    remove_tree(top)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "kept"]


def test_a_run_that_ends_just_when_it_is_told_to_does_no_harm(sandbox: Sandbox):
    limits = Limits(cpu_s=1, wall_s=0.1)
    for number in range(15):
        program = f"import time\ntime.sleep({0.085 + number / 1000})\n{RIGHT}"
        assert sandbox.judge(program, CHECK, "f", limits=limits).status in ("pass", "timeout")
        assert sandbox.judge(RIGHT, CHECK, "f").passed


def test_a_time_out_of_kept_tests_leaves_them_usable(sandbox: Sandbox):
    endless = "def f(x):\n    while True: pass"
    limits = Limits(cpu_s=0.1, wall_s=3)
    for _ in range(3):
        told = sandbox.judge(endless, CHECK, "f", limits=limits, trusted_tests=True)
        assert told.status == "timeout", told
        assert sandbox.judge(RIGHT, CHECK, "f", trusted_tests=True).passed


def test_smaller_limits_right_after_a_large_program(sandbox: Sandbox):
    large = "held = bytearray(600 << 20)\n" + RIGHT
    for _ in range(2):
        assert sandbox.judge(large, CHECK, "f", limits=Limits(memory_mb=900)).passed
        small = sandbox.judge(RIGHT, CHECK, "f", limits=Limits(memory_mb=64))
        assert small.passed, small


def test_other_limits_take_effect_at_once(sandbox: Sandbox):
    """Processes are forked ahead with the limits of the last run."""
    hungry = "held = bytearray(300 << 20)\n" + RIGHT
    assert sandbox.judge(RIGHT, CHECK, "f", limits=Limits(memory_mb=900)).passed
    assert sandbox.judge(hungry, CHECK, "f", limits=Limits(memory_mb=128)).status == "memory"
    assert sandbox.judge(hungry, CHECK, "f", limits=Limits(memory_mb=900)).passed


@pytest.mark.parametrize(
    "wrong",
    [
        {"disk_mb": 0}, {"disk_mb": -1}, {"files": 0}, {"cpu_s": float("inf")}, {"cpu_s": 0},
        {"wall_s": float("nan")}, {"memory_mb": 0.5}, {"processes": 1 << 40}, {"output_kb": "1"},
    ],
)  # fmt: skip
def test_limits_that_are_none_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_impossible_sandboxes_are_refused():
    with pytest.raises(ValueError, match="workers"):
        Sandbox(-1)
    with pytest.raises(SandboxError, match="no level"):
        Sandbox(1, minimum="X")  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["A", "B", "C-strict"])
def test_a_worker_that_does_not_start_leaves_nothing(level, monkeypatch: pytest.MonkeyPatch):
    if why_not(level):
        pytest.skip(f"no level {level} here: {why_not(level)}")
    monkeypatch.setattr(worker, "_interpreter", lambda **_: ("/bin/false", []))
    before = descriptors()
    for _ in range(3):
        with pytest.raises(InfraError, match="did not start"):
            worker.Worker(level)
    assert descriptors() == before
    assert not list(Path("/tmp").glob(f"midfill-{os.getpid()}-*"))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


FORKS = """
import os, sys
from midfill.sandbox import Sandbox
RIGHT, TEST = "def f(x): return x", "assert f(3) == 3"
with Sandbox(1) as sandbox:
    assert sandbox.judge(RIGHT, TEST).passed
    child = os.fork()
    told = [sandbox.judge(RIGHT, TEST) for _ in range(8)]
    assert all(verdict.passed for verdict in told), told
    if child == 0:
        sandbox.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert sandbox.judge(RIGHT, TEST).passed
print("fine")
"""


def test_a_forked_process_has_workers_of_its_own():
    ended = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True)
    assert ended.stdout == "fine\n", ended.stderr


def test_programs_are_the_first_to_go_when_the_machine_has_no_memory(sandbox: Sandbox):
    program = "def f(): return int(open('/proc/self/oom_score_adj').read())"
    verdict = sandbox.judge(program, "assert f() >= 900")
    if verdict.level == "C-strict":
        pytest.skip("level C-strict shows no /proc to a program")
    assert verdict.passed, verdict


def test_the_same_program_draws_the_same_numbers(sandbox: Sandbox):
    program = "import random\ndef f(): return random.random()"
    drawn = {sandbox.judge(program, "assert f() is None").detail for _ in range(6)}
    assert len(drawn) == 1


def test_busy_cgroups_are_waited_for(monkeypatch: pytest.MonkeyPatch):
    """An error other than that is the end of the worker."""
    if why_not("A"):
        pytest.skip(f"no level A here: {why_not('A')}")
    made = worker.Worker("A")
    try:
        refusals = [errno.EBUSY, errno.EBUSY, errno.EIO]

        def refuse(group, memory, processes):
            if refusals:
                raise OSError(refusals.pop(0), "no")

        monkeypatch.setattr(type(made.group), "allow", refuse)
        with pytest.raises(InfraError, match="cgroup"):
            made.allow(Limits(memory_mb=77))
        assert not refusals
        made.allow(Limits(memory_mb=78))
    finally:
        made.close()
