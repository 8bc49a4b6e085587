"""Contest problems from a user's file: small sets of the published forms, judged in the sandbox."""

import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.errors import ConfigError, SandboxError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.task import Score
from midfill.evaluate.work import (
    Case,
    Cases,
    Work,
    judge_work,
    same_lines,
    same_stripped,
    same_tokens,
)
from midfill.sandbox import Limits, Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox(workers=1) as made:
            yield made
    except SandboxError as problem:
        pytest.skip(f"programs cannot be run safely here: {problem.why}")


def problem(name: str, *, tests: list[tuple[str, str]], call: str | None = None) -> dict[str, str]:
    """A row as LiveCodeBench publishes it: the last test is private, pickled and compressed."""
    kind = "functional" if call else "stdin"
    cases = [{"input": i, "output": o, "testtype": kind} for i, o in tests]
    private = zlib.compress(pickle.dumps(json.dumps(cases[-1:])))
    return {
        "question_title": name,
        "question_content": f"Solve {name}.",
        "platform": "atcoder",
        "question_id": name,
        "contest_id": "c",
        "contest_date": "2024-02-01T00:00:00",
        "starter_code": f"class Solution:\n    def {call}(self, a, b):\n        " if call else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(cases[:-1]),
        "private_test_cases": base64.b64encode(private).decode(),
        "metadata": json.dumps({"func_name": call} if call else {}),
    }


SUM = problem("sum", tests=[("1 2\n", "3\n"), ("4 5\n", "9\n"), ("0.5 1\n", "1.50\n")])
PAIR = problem("pair", tests=[("1\n2", "[1, 2]"), ("[3]\n4", "[[3], 4]")], call="pair")


@pytest.fixture
def livecodebench(tmp_path: Path):
    file = tmp_path / "test.jsonl"
    late = {**SUM, "question_id": "late", "contest_date": "2024-07-01T00:00:00"}
    file.write_text("".join(json.dumps(row) + "\n" for row in (SUM, PAIR, late)))
    return opened("livecodebench", file, start_date="2023-12-01", end_date="2024-06-01")


def score(benchmark, task, answer: str, sandbox: Sandbox) -> Score:
    work = benchmark.program(task, answer)
    return work if isinstance(work, Score) else judge_work(work, sandbox)


def test_dates_choose_the_problems(livecodebench):
    assert [task.task_id for task in livecodebench.tasks("instruct")] == ["sum", "pair"]


SUM_PROGRAM = "import sys\nx, y = map(float, input().split())\nprint(x + y)\n"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (SUM_PROGRAM, "pass"),
        (SUM_PROGRAM + "sys.exit(1)", "pass"),  # the original lets any SystemExit be
        (f"def main():\n  x, y = input().split()\n  print({SUM_PROGRAM!r})", "wrong"),  # no call
        ("if __name__ == '__main__':\n    print(sum(map(float, input().split())))", "pass"),
        ("print(sum(map(float, input().split())), end=' \\n\\n')", "pass"),
        ("print(3)", "wrong"),
        ("print(sum(map(int, input().split())))", "error"),
        ("print(", "error"),
        ("print(sqrt(0) + sum(Decimal(w) for w in input().split()))", "error"),  # no Decimal there
        ("print(reduce(add, map(float, input().split())))", "pass"),  # the prelude's names
    ],
)
def test_programs_are_judged_as_livecodebench_does(livecodebench, sandbox, answer, status):
    task = livecodebench.tasks("instruct")[0]
    found = score(livecodebench, task, answer, sandbox)
    assert found.verdict is not None
    assert found.verdict.status == status, found
    assert found.value == (status == "pass")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("class Solution:\n    def pair(self, a, b):\n        return (a, b)", "pass"),
        ("class Solution:\n    def pair(self, a, b):\n        return [a, b]", "pass"),
        ("def pair(a, b):\n    return [a, b]", "pass"),
        ("class Solution:\n    def pair(self, a, b):\n        return [b, a]", "wrong"),
        ("class Solution:\n    def pair(self, a, b):\n        return [(a,), b]", "wrong"),
        ("class Solution:\n    def other(self, a, b):\n        return [a, b]", "error"),
        ("class Solution:\n    def pair(self, a, b):\n        raise ValueError", "error"),
        (
            "class A:\n  def __eq__(*a): return True\nclass Solution:\n  pair = lambda *a: A()",
            "wrong",
        ),
        ("import os\nos._exit(0)", "error"),
    ],
)
def test_calls_go_through_the_seal(livecodebench, sandbox, answer, status):
    task = livecodebench.tasks("instruct")[1]
    found = score(livecodebench, task, answer, sandbox)
    assert found.verdict is not None
    assert found.verdict.sealed
    assert found.verdict.status == status, found


def test_one_solution_serves_all_calls(livecodebench, sandbox):
    """As in the original: what an instance remembers is there at the next test."""
    counting = (
        "class Solution:\n    calls = 0\n    def pair(self, a, b):\n        self.calls += 1\n"
        "        return [a, b] if self.calls < 2 else None"
    )
    found = score(livecodebench, livecodebench.tasks("instruct")[1], counting, sandbox)
    assert found.value == 0


def test_limits_grow_with_the_tests(livecodebench):
    """6 s a test; (6 + 1) * tests + 5 in all."""
    stdin, call = livecodebench.tasks("instruct")
    cases = livecodebench.program(stdin, "print()")
    assert isinstance(cases, Cases)
    assert (cases.limits.cpu_s, cases.total_s) == (6, 7 * 3 + 5)
    assert livecodebench.program(call, "pass").limits.cpu_s == 7 * 2 + 5


def test_answers_are_taken_from_between_the_last_two_fences(livecodebench):
    asked, base = livecodebench.tasks("instruct")[0], livecodebench.tasks("base")[0]
    answer = "```python\nfirst\n```\nthen\n```python\nsecond\n```\n"
    assert livecodebench.extract(asked, answer, "livecodebench") == "second"
    assert livecodebench.extract(asked, "```python\nopen", "livecodebench") == ""
    assert livecodebench.extract(base, " x \n", "livecodebench") == "x"


def test_three_ways_to_ask(livecodebench):
    chat, v1, base = (livecodebench.tasks(s)[1].prompt for s in ("instruct", "instruct-v1", "base"))
    assert chat.messages is not None
    assert chat.messages[1]["content"].startswith("### Question:\nSolve pair.\n\n### Format: ")
    assert v1.text is not None
    assert v1.text.endswith("        \n```\n\n### Response:\n\n")
    assert base.text is not None
    assert base.text.endswith("### Answer\n\n")
    assert base.text.count("### Starter Code\n") == 2


class Harmful:
    def __reduce__(self):
        return (print, ("run by a pickle",))


def test_a_pickle_runs_nothing(livecodebench, tmp_path, capsys):
    packed = base64.b64encode(zlib.compress(pickle.dumps(Harmful()))).decode()
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps({**SUM, "private_test_cases": packed}))
    benchmark = opened("livecodebench", file)
    with pytest.raises(ConfigError, match="cannot be read"):
        benchmark.program(benchmark.tasks("instruct")[0], "print()")
    assert capsys.readouterr().out == ""


@pytest.fixture
def usaco(tmp_path: Path):
    row = {
        "problem_id": "1_bronze_sum",
        "name": "sum",
        "problem_level": "bronze",
        "description": "Add two numbers.",
        "num_tests": 2,
        "runtime_limit": 0.4,
        "memory_limit": 256,
        "solution_python3": "```python\nprint(sum(map(int, input().split())))\n```",
    }
    (tmp_path / "usaco.json").write_text(json.dumps({row["problem_id"]: row}))
    tests = tmp_path / "tests" / row["problem_id"]
    tests.mkdir(parents=True)
    (tests / "1.in").write_text("1 2\n")
    (tests / "1.out").write_text("3\n")
    (tests / "I.2").write_text("4 5\n")
    (tests / "O.2").write_bytes(b"9\r\n")
    return opened("usaco", tmp_path / "usaco.json")


@pytest.mark.parametrize(
    ("answer", "status", "passed"),
    [
        ("print(sum(map(int, input().split())))", "pass", 1.0),
        ("print()\nprint(sum(map(int, input().split())), '')", "pass", 1.0),
        ("print(sum(map(float, input().split())))", "wrong", 0.0),  # 3.0 is not 3
        ("print(3)", "wrong", 0.5),
        ("print(sum(map(int, input().split())))\nexit(0)", "error", 0.0),  # as the original has it
        ("while True: pass", "timeout", 0.0),
        ("x = bytearray(1 << 30)\nprint(3)", "memory", 0.0),
    ],
)
def test_olympiad_programs_run_once_for_each_test(usaco, sandbox, answer, status, passed):
    found = score(usaco, usaco.tasks("instruct")[0], answer, sandbox)
    assert found.verdict is not None
    assert (found.verdict.status, found.also["cases_passed"]) == (status, passed), found


def test_olympiad_solutions_are_known(usaco, sandbox):
    task = usaco.tasks("base")[0]
    assert score(usaco, task, usaco.canonical(task) or "", sandbox).value == 1
    assert (task.row["group"], task.language) == ("bronze", "python")


def test_a_missing_test_is_named(usaco, tmp_path):
    (tmp_path / "tests" / "1_bronze_sum" / "I.2").unlink()
    with pytest.raises(ConfigError, match="test 2 of 1_bronze_sum"):
        usaco.program(usaco.tasks("base")[0], "print()")


def test_expected_outputs_never_enter(sandbox):
    """A program that prints every file it can read finds no expected output."""
    spy = "import os\nfor f, _, names in os.walk('.'):\n  for n in names: print(open(f + '/' + n).read())"
    case = Case(stdin="", expected=("7461834",))
    work = Cases(code=spy, cases=(case,), compare="stripped", on_exit="ok")
    found = judge_work(work, sandbox)
    assert found.verdict is not None
    assert "os.walk" in found.verdict.output
    assert "7461834" not in found.verdict.output


def test_all_cases_together_have_a_limit(sandbox):
    busy = "import time\nwhile time.process_time() < 0.15: pass\nprint(1)"
    cases = tuple(Case(stdin="", expected=("1",)) for _ in range(3))
    work = Cases(code=busy, cases=cases, compare="lines", limits=Limits(cpu_s=2), total_s=0.3)
    found = judge_work(work, sandbox)
    assert found.verdict is not None
    assert (found.verdict.status, found.also["cases_passed"]) == ("timeout", pytest.approx(1 / 3))


def test_work_is_told_apart_by_its_content():
    case = Case(stdin="1", expected=("2",))
    work = Cases(code="print(2)", cases=(case,), compare="lines")
    other = Cases(code="print(2)", cases=(Case(stdin="1", expected=("3",)),), compare="lines")
    assert isinstance(work, Work)
    assert work.identity() != other.identity()


@pytest.mark.parametrize(
    ("printed", "wanted", "lines", "stripped", "tokens"),
    [
        ("1.0\n", "1", True, False, True),
        ("1\n2", "1\n2\n", True, True, True),
        (" a  \n b", "a\nb", True, False, True),
        ("1  2", "1 2", True, False, True),  # numbers word by word
        ("a  b", "a b", False, False, True),
        ("YES", "yes", False, False, True),
        ("0.1000000000001", "0.1", False, False, True),
        ("0.10001", "0.1", False, False, False),
        ("nan", "5", False, False, False),
        ("1\n2\n3", "1\n2", False, False, False),  # P6: neither more lines nor fewer
        ("1", "1\n2", False, False, False),
        ("", "", True, True, True),
    ],
)
def test_comparisons(printed, wanted, lines, stripped, tokens):
    assert same_lines(printed, wanted) == lines
    assert same_stripped(printed, wanted) == stripped
    assert same_tokens(printed, wanted) == tokens


@given(st.text(), st.text())
def test_comparing_never_fails_and_every_text_equals_itself(a, b):
    for same in (same_lines, same_stripped, same_tokens):
        assert same(a, a)
        assert same(a, b) in (True, False)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3), min_size=1))
def test_decimals_are_compared_exactly(numbers):
    text = " ".join(map(str, numbers))
    longer = " ".join(f"{number}0" for number in numbers)
    assert same_lines(longer, text)
    assert not same_lines(f"{numbers[0]}1 {' '.join(map(str, numbers[1:]))}", text)


# --------------------------------------------------------------------------------------- LeetCode

CALLS = "\n".join(
    f"test_input = {{ 'x': {x} }}\nassert my_solution.twice(**test_input) == {2 * x}\n"
    for x in (1, 4)
)
CONTEST = {
    "task_id": "weekly-contest-1-twice",
    "prompt_sft": "Twice x.\n```python\nclass Solution:\n    def twice(self, x):\n        \n```",
    "test": f"\nmy_solution = Solution()\n\n{CALLS}",
    "meta": {"difficulty": "Easy"},
}


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    file = tmp_path / "contest.jsonl"
    file.write_text(json.dumps(CONTEST) + "\n")
    return file


def test_leetcode_is_asked_with_and_without_an_outline(contest: Path):
    plain, outline = (opened(name, contest) for name in ("leetcode", "leetcode-cot"))
    (one,), (other,) = plain.tasks("instruct"), outline.tasks("instruct")
    assert one.prompt.messages == ({"role": "user", "content": CONTEST["prompt_sft"]},)
    assert other.prompt.messages is not None
    assert other.prompt.messages[0]["content"] == (
        CONTEST["prompt_sft"]
        + "\nYou need first write a step-by-step outline and then write the code."
    )
    assert (one.prompt.max_tokens, one.row["group"]) == (1024, "Easy")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return x + x", "pass"),
        ("return reduce(int.__add__, [x, x])", "pass"),  # functools is imported with a star
        ("return 2", "wrong"),
        ("return y", "error"),
        ("import os; os._exit(0)", "error"),
    ],
)
def test_leetcode_methods_are_called_sealed(
    contest: Path, sandbox: Sandbox, body: str, status: str
):
    bench = opened("leetcode", contest)
    (task,) = bench.tasks("instruct")
    reply = f"1. Add.\n```python\nclass Solution:\n    def twice(self, x):\n        {body}\n```"
    for rule in bench.rules:
        score = judge_work(bench.program(task, bench.extract(task, reply, rule)), sandbox)
        assert score.verdict is not None
        assert (score.verdict.status, score.verdict.sealed) == (status, True), score
    none = judge_work(bench.program(task, bench.baselines(task)["return None"]), sandbox)
    assert none.value == 0


def test_leetcode_tests_of_another_form_are_refused(contest: Path):
    contest.write_text(json.dumps({**CONTEST, "test": "assert Solution().twice(1) == 2"}))
    with pytest.raises(ConfigError, match="in another form"):
        opened("leetcode", contest)
