"""Odd programs, odd tests and odd moments: nobody crashes the supervisor, nothing passes unjudged."""

import errno
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from midfill.errors import SandboxError
from midfill.sandbox import InfraError, Limits, Sandbox, worker
from midfill.sandbox.places import remove_tree
from midfill.sandbox.sandbox import _Turn, why_not

QUICK = Limits(cpu_s=1, wall_s=3, memory_mb=256)
WRONG = "def f(x): return 0"
RIGHT = "def f(x): return x * x"
CHECK = "def check(candidate):\n    assert candidate(3) == 9\n"


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


def main_of(body: str) -> str:
    return f"import unittest\nassert f(0) == 0\nclass T(unittest.TestCase):\n    def test_f(self): assert f(3) == 9\n{body}"


DEAD = "import os\ndef f(x): os._exit(1)"
BAG = """
class Bag:
    def __init__(self): self.items = []
    def add(self, x): self.items.append(x)
    def __iter__(self): return iter(self.items)
class Leak(Bag):
    def __iter__(self):
        while self.items: yield self.items.pop(0)
same = Bag()
def get(): return same
def clone(x): return x
"""
KEEPS = "a = [1]\ntry: f(a)\nexcept ValueError: pass\nassert a == [1]"
APPENDS = "def f(a):\n    a.append(2)\n    raise ValueError"
KINDS_OF_USE = """
import enum, itertools
from collections import deque
class Color(enum.Enum):
    R = 1
class Calculator:
    K = 7
    @staticmethod
    def add(a, b): return a + b
    @property
    def wide(self): return [1, 2]
    def __len__(self): return 5
    def __str__(self): return "a calculator"
    def __getitem__(self, i): return i * 2
class Worse(Exception): pass
class Worst(Worse): pass
def adder(n): return lambda x: x + n
def gen():
    yield from [1, 2, 3]
def endless(): return itertools.count()
def late():
    yield 1
    raise KeyError("x")
def empty(): return deque()
def full(): return deque([1])
def fail(): raise Worst("no")
def apply(f, x): return f(x)
def twice(x): return 2 * x
def put(d): d["a"].append(3); d["b"] = 1
"""
USES = [
    "assert Calculator.add(1, 2) == 3 and Calculator.K == 7 and Color.R.value == 1",
    "c = Calculator()\nassert c.wide == [1, 2] and len(c) == 5 and str(c) == 'a calculator' and c[3] == 6",
    "assert adder(3)(4) == 7 and apply(twice, 4) == 8 and apply(adder(1), 1) == 2",
    "g = gen()\nassert next(g) == 1 and list(g) == [2, 3] and list(g) == [] and next(g, 0) == 0",
    "import itertools\nassert list(itertools.islice(endless(), 50)) == list(range(50))",
    "g = late()\nassert next(g) == 1\ntry: next(g)\nexcept KeyError as e: assert e.args == ('x',)",
    "assert not empty() and full()",
    "try: fail()\nexcept Worse as e: assert str(e) == 'no'\nelse: assert False",
    "import solution\ntry: fail()\nexcept solution.Worst: pass",
    "inner = [1]\nd = {'a': inner}\nput(d)\nassert inner == [1, 3] and d == {'a': inner, 'b': 1}",
    "def test_case(i, o): assert twice(i) == o\nfor i in range(3): test_case(i, 2 * i)",
    "import unittest\nassert twice(1) == 2\n@unittest.skip('not here')\ndef test_x(): assert False",
]  # fmt: skip


@pytest.mark.parametrize("tests", USES)
def test_what_everyday_tests_do_with_objects_works(sandbox: Sandbox, tests: str):
    verdict = sandbox.judge(KINDS_OF_USE, tests)
    assert verdict.passed, verdict


JUDGED = [
    (DEAD, "try: f(-1)\nexcept: pass", "error"),
    (DEAD, "def g():\n    try: f(-1)\n    finally: return 0\ng()", "error"),
    (DEAD, "import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n    def test(self): f(1)", "error"),
    (BAG, "q = Leak()\nq.add(1)\nassert list(q) == [1]\nassert list(q) == [1]", "wrong"),
    (BAG, "q = Bag()\nassert list(q) == []\nq.add(1)\nassert list(q) == [1]", "pass"),
    (BAG, "q = Bag()\nassert clone(q) is not q", "wrong"),
    (BAG, "assert get() is get() and len({get(), get()}) == 1", "pass"),
    (APPENDS, KEEPS, "wrong"),
    (APPENDS, KEEPS.replace("== [1]", "== [1, 2]"), "pass"),
    (WRONG, main_of("unittest.main()"), "wrong"),
    (RIGHT, main_of("unittest.main(argv=['x'])"), "pass"),
    (WRONG, "assert f(0) == 0\nif __name__ == '__main__': assert f(3) == 9", "wrong"),
    (RIGHT, "import no_such_module\nassert f(3) == 9", "infra"),
    ("def f(x): exit()", "assert f(3) == 9", "error"),
    ("class P:\n    def x(self): return 2\ndef make(): return P()\ndef g(x): return x", "r = make()\nassert g(r.x) == 2", "error"),
    ("import sys\ndef f(): return sys.argv", "assert f() == ['solution.py']", "pass"),
    ("def f(n): return [object() for _ in range(n)]", "assert len(set(f(20_000))) == 20_000", "pass"),
    ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", "assert f(990) == 990", "pass"),
    ("from concurrent.futures import ThreadPoolExecutor as E\ndef f():\n"
     "    with E(20) as e: return sorted(e.map(abs, range(20)))", "assert f() == list(range(20))", "pass"),
    ("import signal, threading\ndef f(): return signal.pthread_kill(threading.main_thread().ident, 0)",
     "assert f() is None", "pass"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "tests", "status"), JUDGED)
def test_the_verdict_is_that_of_a_plain_interpreter(
    sandbox: Sandbox, program: str, tests: str, status: str
):
    verdict = sandbox.judge(program, tests)
    assert verdict.status == status, verdict


def test_hashes_are_the_same_in_every_worker():
    program = "def f(): return list({'a', 'b', 'c', 'd', 'e', 'f'})"
    told = set()
    for _ in range(3):
        with Sandbox(1) as made:
            told.add(made.judge(program, "assert f() is None").detail)
    assert len(told) == 1, told


def test_closing_twice_at_once_ends():
    made = Sandbox(2)
    sleeps = threading.Thread(
        target=made.judge, args=("import time\ntime.sleep(0.5)\n" + RIGHT, CHECK, "f")
    )
    sleeps.start()
    closers = [threading.Thread(target=made.close) for _ in range(2)]
    for thread in closers:
        thread.start()
    for thread in (*closers, sleeps):
        thread.join(20)
        assert not thread.is_alive()
    made.close()


def test_an_interrupted_wait_holds_up_nobody():
    turn, entered, released = _Turn(), threading.Event(), threading.Event()

    def long_run() -> None:
        with turn.shared():
            entered.set()
            released.wait(20)

    running = threading.Thread(target=long_run)
    running.start()
    assert entered.wait(10)

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn.changed, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt), turn.alone():
            pass
    with turn.shared():
        pass
    released.set()
    running.join(10)
    with turn.alone():
        pass


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


def test_memory_that_known_tests_have_taken_is_not_the_next_ones(sandbox: Sandbox):
    hungry = "import builtins\nbuiltins.held = bytearray(400 << 20)\nassert f(3) == 9"
    for _ in range(4):  # for both workers
        told = sandbox.judge(RIGHT, hungry, limits=Limits(memory_mb=900), trusted_tests=True)
        assert told.passed, told
    for _ in range(4):
        told = sandbox.judge(RIGHT, CHECK, "f", limits=Limits(memory_mb=64), trusted_tests=True)
        assert told.passed, told


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
