"""Defects that were found in other harnesses: one test each that ours has none of them.

The rows are those of the evaluation specification; names begin with the row's number. Rows about
isolation itself are shown in full by the tests of the sandbox.
"""

import json
import time
from pathlib import Path

import pytest

from conftest import needs_data
from midfill.errors import ConfigError, SandboxError
from midfill.evaluate.benchmarks import benchmark, multilingual, plus, repobench, safim, swebench
from midfill.evaluate.benchmarks.common import with_prelude
from midfill.evaluate.extract import extract
from midfill.evaluate.mathematics import equivalent
from midfill.evaluate.statistics import pass_at_k
from midfill.evaluate.task import Program, Prompt, Score, Task
from midfill.evaluate.work import Case, Cases, judge_work
from midfill.sandbox import Limits, Sandbox
from midfill.sandbox.languages import available, find_language
from midfill.sandbox.verdict import Verdict

NINE = "assert f(3) == 9\nassert f(4) == 16\n"


def judged(sandbox: Sandbox, name: str, task_id: str, answer: str) -> Verdict:
    """What an answer to one task of a benchmark is worth."""
    bench = benchmark(name)
    task = next(task for task in bench.tasks("base") if task.task_id == task_id)
    if why := available(task.language):
        pytest.skip(why)
    work = bench.program(task, answer)
    assert isinstance(work, Program)
    return sandbox.judge(work.code, work.tests, work.entry_point, work.language, work.limits)


def strlen(ending: str, body: str) -> tuple[str, str, str]:
    """An answer to HumanEval 23 in another language, as `judged` takes it."""
    name = f"humaneval-{ending}"
    for task in benchmark(name).tasks("base"):
        if task.task_id == "HumanEval_23_strlen":
            return name, task.task_id, task.row["prompt"] + body
    raise LookupError(name)


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["object", "int", "str"])
def test_p1_an_object_that_claims_to_be_equal_does_not_pass(sandbox: Sandbox, base: str):
    code = f"class Yes({base}):\n    __eq__ = lambda *_: True\n    __hash__ = lambda *_: 0\ndef f(x):\n    return Yes()\n"
    assert sandbox.judge(code, NINE, "f").status in ("wrong", "error")


WALK = """
import sys

def frames():
    frame = sys._getframe()
    while frame:
        yield frame
        frame = frame.f_back

def f(x):
    for frame in frames():
        for room in (frame.f_locals, frame.f_globals):
            for name, value in list(room.items()):
{theft}
    return None
"""


def test_p2_no_list_of_results_is_in_reach(sandbox: Sandbox):
    theft = (
        "                if name in ('result', 'results') and hasattr(value, 'append'):\n"
        "                    value.append('passed')\n"
    )
    assert sandbox.judge(WALK.format(theft=theft), NINE, "f").status == "wrong"


def test_p3_no_expected_value_is_in_reach(sandbox: Sandbox):
    row = {"task_id": "X/0", "entry_point": "f", "prompt": "", "canonical_solution": ""}
    row["test"] = (
        "inputs = [[3], [4]]\nresults = [9, 16]\nfor inp, exp in zip(inputs, results):\n    assertion(f(*inp), exp, 0)\n"
    )
    theft = (
        "                if name in ('results', 'expected') and isinstance(value, list):\n"
        "                    return value[x - 3]\n"
        "                if name in ('wanted', 'exp'):\n"
        "                    return value\n"
    )
    tests = plus.tests(row)
    assert "results = [9, 16]" in tests
    assert sandbox.judge(WALK.format(theft=theft), tests, "f").status == "wrong"
    assert sandbox.judge("def f(x):\n    return x * x\n", tests, "f").status == "pass"


@pytest.mark.parametrize(
    ("ending", "body"),
    [
        ("sh", "  exit 0\n"),
        ("js", "  process.exit(0);\n}\n"),
        ("php", "  exit(0);\n}\n"),
        ("pl", "    exit(0);\n}\n"),
        ("lua", "  os.exit(0)\nend\n"),
        ("rb", "  exit!(0)\nend\n"),
        pytest.param("cpp", "  exit(0);\n", marks=pytest.mark.slow),
        pytest.param("java", "    System.exit(0); return 0;\n", marks=pytest.mark.slow),
        pytest.param("ts", "  require('process').exit(0);\n}\n", marks=pytest.mark.slow),
        pytest.param("go", "  os.Exit(0); return 0\n}\n", marks=pytest.mark.slow),
        pytest.param("rs", "  std::process::exit(0)\n", marks=pytest.mark.slow),
        pytest.param("r", "  quit(status = 0)\n}\n", marks=pytest.mark.slow),
        pytest.param("rkt", "  (exit 0))\n", marks=pytest.mark.slow),
    ],
)
def test_p4_an_early_exit_with_status_0_is_no_pass(sandbox: Sandbox, ending: str, body: str):
    if needs_data(f"humaneval-{ending}").args[0]:
        pytest.skip(f"no data of humaneval-{ending}: set MIDFILL_DATA")
    name = "HumanEval_53_add" if ending == "php" else "HumanEval_23_strlen"
    bench = benchmark(f"humaneval-{ending}")
    task = next(task for task in bench.tasks("base") if task.task_id == name)
    verdict = judged(sandbox, f"humaneval-{ending}", name, task.row["prompt"] + body)
    assert verdict.status in ("error", "wrong"), verdict
    assert not verdict.sealed


@needs_data("humaneval-cs")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("        return s0.Length;\n", "pass"),
        ("        return 7;\n", "wrong"),  # a failed Debug.Assert: mono exits with 0
        ('        throw new System.Exception("x");\n', "error"),  # says nothing of "Fail"
    ],
)
def test_p5_csharp_needs_its_status_and_its_words(sandbox: Sandbox, body: str, status: str):
    name, task_id, answer = strlen("cs", "")
    parameter = answer.rstrip().rpartition("string ")[2].partition(")")[0]
    verdict = judged(sandbox, name, task_id, answer + body.replace("s0", parameter))
    assert verdict.status == status, verdict


@pytest.mark.parametrize("printed", ["1\\n2", "1\\n2\\n3\\n4", "1\\n2\\n3 4"])
def test_p6_a_prefix_or_more_of_the_expected_output_is_wrong(sandbox: Sandbox, printed: str):
    cases = (Case(stdin="", expected=("1\n2\n3\n",)),)
    for text, value in ((printed, 0), ("1\\n2\\n3", 1)):
        work = Cases(code=f"print('{text}')", cases=cases, compare="lines")
        score = judge_work(work, sandbox)
        if score.value is None:
            pytest.skip(score.detail)
        assert score.value == value


def test_p7_what_does_not_end_is_ended_with_all_its_children(sandbox: Sandbox):
    try:
        with sandbox.box(limits=Limits(wall_s=1)) as box:
            outcome = box.run(("bash", "-c", "sleep 60 & sleep 60"), limits=Limits(wall_s=1))
            left = box.run(("bash", "-c", "ls -d /proc/[0-9]* | wc -l; pgrep sleep | wc -l"))
    except SandboxError as refused:
        pytest.skip(refused.why)
    assert outcome.ended == "timeout"
    assert left.stdout.split()[-1] == b"0"


def test_p8_two_runs_never_share_a_directory(sandbox: Sandbox):
    try:
        with sandbox.box() as one, sandbox.box() as other:
            one.write("mine.txt", b"mine")
            assert b"mine" not in other.run(("bash", "-c", "ls -a")).stdout
            assert b"mine" in one.run(("bash", "-c", "ls -a")).stdout
        with sandbox.box() as third:
            assert b"mine" not in third.run(("bash", "-c", "ls -a")).stdout
    except SandboxError as refused:
        pytest.skip(refused.why)


@needs_data("humaneval-js")
def test_p9_javascript_may_print(sandbox: Sandbox):
    body = '  console.log("hello"); console.error("note");\n  return string.length;\n}\n'
    name, task_id, answer = strlen("js", "")
    parameter = answer.rstrip().rpartition("(")[2].partition(")")[0]
    verdict = judged(sandbox, name, task_id, answer + body.replace("string", parameter))
    assert verdict.status == "pass", verdict
    assert "hello" in verdict.output


def test_p10_languages_are_told_apart_by_their_whole_names():
    assert find_language("javascript").name == "javascript"
    assert find_language("java").name == "java"
    with pytest.raises(SandboxError):
        find_language("javas")
    runnable = set(multilingual.LANGUAGES.values()) - {"julia", "scala", "swift"}
    assert all(find_language(name).name == name for name in runnable)


# --- CRUXEval, EvalPlus, RepoBench, pass@k, SAFIM -------------------------------------------------


def crux(folder: Path, name: str) -> tuple:
    path = folder / "answers-output-file.jsonl"  # its name says nothing
    row = {"id": "s", "code": "def f(x):\n    return x + 1", "input": "1", "output": "2"}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    bench = benchmark(name, path)
    return bench, bench.tasks("base")[0]


@pytest.mark.parametrize("answer", ["", "f (1)", "f(1)", "[f][0](1)", "print(", "assert"])
def test_p11_cruxeval_scores_every_answer_and_refuses_every_call(tmp_path: Path, answer: str):
    bench, task = crux(tmp_path, "cruxeval-o")
    extracted = bench.extract(task, f"assert f(1) == {answer}", "cruxeval")
    score = bench.program(task, extracted)
    assert isinstance(score, Score)
    assert score.value == 0
    assert score.detail


def test_p11_the_half_is_told_by_the_name_of_the_benchmark(tmp_path: Path):
    bench, task = crux(tmp_path, "cruxeval-i")
    work = bench.program(task, bench.extract(task, "assert f(1) == 2", "cruxeval"))
    assert isinstance(work, Program)
    assert "f(1)" in work.code


def test_p12_closeness_is_decided_anew_for_every_input(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EVALPLUS_TIMEOUT_PER_TASK", "5")  # a text, where the original adds numbers
    row = {"task_id": "X/0", "entry_point": "f", "prompt": "", "canonical_solution": ""}
    row["test"] = (
        "inputs = [[0], [1]]\nresults = [0.5, 1000000000]\nfor inp, exp in zip(inputs, results):\n    assertion(f(*inp), exp, 0)\n"
    )
    for second, status in (("1000000000", "pass"), ("1000000001", "wrong")):
        code = f"def f(x):\n    return [0.5000000001, {second}][x]\n"
        assert sandbox.judge(code, plus.tests(row), "f").status == status


def test_p12_no_problem_accepts_any_value(sandbox: Sandbox):
    row = {"task_id": "Mbpp/164", "entry_point": "are_equivalent", "prompt": ""}
    row["test"] = (
        "inputs = [[36, 57]]\nresults = [False]\nassertion(are_equivalent(*inp), exp, 0)\n"
    )
    code = "def are_equivalent(a, b):\n    return {}\n"
    for value, status in (("'whatever'", "wrong"), ("False", "pass")):
        verdict = sandbox.judge(code.format(value), plus.tests(row), "are_equivalent")
        assert verdict.status == status


def test_p13_what_stands_nearest_stays_and_tokens_are_counted_in_one_piece():
    cross = "# Repo Name: r\n" + "".join(f"line {number}\n" for number in range(50))
    prompt = repobench.build_prompt(cross, "last\n", count_tokens=len, most_tokens=120)
    assert len(prompt) <= 120
    assert prompt.startswith("# Repo Name: r\n")
    assert prompt.endswith("line 49\nlast\n")
    assert "line 0\n" not in prompt
    assert repobench.first_line('"""One line."""\nx = 1\ny = """z"""', "python") == "x = 1"


def test_p14_too_few_answers_are_an_error_that_names_the_task():
    with pytest.raises(ConfigError, match="short") as caught:
        pass_at_k({"long": (10, 3), "short": (4, 4)}, 5)
    assert "4 answers" in caught.value.why


def test_p15_an_answer_equal_to_the_truth_is_run_and_space_counts():
    row = {
        "task_id": "block_1",
        "lang": "python",
        "part": "block",
        "eval_prompt": "{{completion}}",
        "ground_truth": "print(1)",
        "unit_tests": [{"input": "", "output": ["2"]}],
    }
    task = Task(task_id="block_1", prompt=Prompt(prefix="", suffix=""), row=row)
    work = safim.Safim(version="", rows=(row,)).program(task, "print(1)")
    assert isinstance(work, Cases)
    assert not safim.same_call('f("a b")', 'f("ab")', "python")
    assert safim.same_call("f(1, b=2, a=3)", "f(1,a=3,b=2)", "python")


# --- extraction, limits, grading ------------------------------------------------------------------

TWO_FENCES = (
    "First:\n```python\ndef add(a, b):\n    return a - b\n```\nBetter:\n```python\nimport math\n\n\n"
    "def add(a, b):\n    return a + b\n```\nUse it:\n```python\nprint(add(1, 2))\n```\n"
)
PROMPT = 'def add(a, b):\n    """Sum."""\n'


def test_p16_rules_take_different_programs_and_are_shown_side_by_side():
    rules = benchmark("humaneval").rules if not needs_data("humaneval").args[0] else ()
    taken = {
        rule: extract(rule, TWO_FENCES, prompt=PROMPT, entry_point="add")
        for rule in rules
        or ("midfill", "deepseek-instruct", "evalplus", "livecodebench", "open-r1")
    }
    assert len(set(taken.values())) >= 4
    assert "a - b" in taken["deepseek-instruct"]
    assert "print" in taken["livecodebench"]
    assert "a + b" in taken["midfill"]


def test_p17_waiting_is_not_computing(sandbox: Sandbox):
    code = "import time\ndef f(x):\n    time.sleep(0.6)\n    return x * x\n"
    slow = sandbox.judge(code, NINE, "f", limits=Limits(cpu_s=0.5, wall_s=20))
    assert slow.status == "pass", slow
    assert slow.cpu_s < 0.5 < slow.wall_s
    busy = sandbox.judge("def f(x):\n    while True: pass\n", NINE, "f", limits=Limits(cpu_s=0.5))
    assert busy.status == "timeout"
    assert busy.first  # it was run again, alone


@pytest.mark.parametrize(
    ("log", "exit_status"),
    [
        ("PASSED tests/a.py::test_a\n", 1),  # printed by the patch; the runner failed
        ("Executed 0 of 0 tests\n", 0),
        ("", 0),
    ],
)
def test_p18_a_log_that_cannot_be_believed_resolves_nothing(log: str, exit_status: int):
    grade = swebench.grade_log(
        log, exit_status, parser="pytest", fail_to_pass=["tests/a.py::test_a"], pass_to_pass=[]
    )
    assert not grade.found
    assert not grade.resolved


def test_p18_a_skipped_test_is_not_fixed():
    log = "SKIPPED tests/a.py::test_a\nPASSED tests/a.py::test_b\n"
    grade = swebench.grade_log(
        log, 0, parser="pytest", fail_to_pass=["tests/a.py::test_a"], pass_to_pass=[]
    )
    assert not grade.resolved


@pytest.mark.parametrize(
    "rule", ["midfill", "deepseek-instruct", "evalplus", "livecodebench", "open-r1"]
)
def test_p19_the_prompt_is_not_put_before_a_whole_answer(rule: str):
    reply = f"```python\n{PROMPT}    return a + b\n```\n"
    assert extract(rule, reply, prompt=PROMPT, entry_point="add").count("def add") == 1


@needs_data("humaneval-rkt")
def test_p20_a_failed_check_in_racket_is_wrong(sandbox: Sandbox):
    name, task_id, prompt = strlen("rkt", "")
    assert judged(sandbox, name, task_id, prompt + "  7)\n").status == "wrong"
    assert judged(sandbox, name, task_id, prompt + "  (string-length string))\n").status == "pass"


def test_p21_the_prelude_asks_for_numpy_only_where_it_is_used():
    assert "numpy" not in with_prelude("def f(x):\n    return math.floor(x)\n")
    assert "import numpy as np\n" in with_prelude("def f(x):\n    return np.floor(x)\n")


@needs_data("humaneval+")
def test_p22_task_32_can_be_passed_and_failed(sandbox: Sandbox):
    bench = benchmark("humaneval+")
    task = bench.tasks("base")[32]
    right = bench.canonical(task) or ""
    assert judged(sandbox, "humaneval+", "HumanEval/32", right).status == "pass"
    wrong = f"{right}\n\n_find = find_zero\n\n\ndef find_zero(xs):\n    return _find(xs) + 0.5\n"
    assert judged(sandbox, "humaneval+", "HumanEval/32", wrong).status == "wrong"


@needs_data("humaneval-php")
def test_p23_the_task_that_php_cannot_have_is_named(sandbox: Sandbox):
    known = benchmark("humaneval-php").known_failures  # type: ignore[attr-defined]
    assert list(known) == ["HumanEval_23_strlen"]
    verdict = judged(sandbox, *strlen("php", "  return 1;\n}\n"))
    assert verdict.status == "error"
    assert "Cannot redeclare" in verdict.detail + verdict.output


@needs_data("mbpp")
def test_p24_setup_runs_after_the_solution(sandbox: Sandbox):
    bench = benchmark("mbpp")
    task = next(task for task in bench.tasks("base") if task.task_id == "MBPP/367")
    right = bench.canonical(task) or ""
    assert "Node(" in task.row["test_setup_code"]
    assert judged(sandbox, "mbpp", "MBPP/367", right).status == "pass"
    wrong = right.replace("return True", "return False")
    assert wrong != right
    verdict = judged(sandbox, "mbpp", "MBPP/367", wrong)
    assert (verdict.status, verdict.sealed) == ("wrong", True)


@pytest.mark.parametrize(
    "answer", ["[" * 10**6, "1+" * 10**6 + "1", "-" * 10**6 + "1", "[0]," * 10**6]
)
def test_p25_a_hostile_literal_costs_nothing(tmp_path: Path, answer: str):
    bench, task = crux(tmp_path, "cruxeval-o")
    start = time.process_time()
    for rule in bench.rules:
        score = bench.program(task, bench.extract(task, answer, rule))
        assert isinstance(score, Score)
        assert score.value == 0
    assert not equivalent(answer, "1")
    assert time.process_time() - start < 1


@needs_data("humaneval-ts")
@pytest.mark.slow
def test_p26_typescript_says_which_way_of_compiling_passed(sandbox: Sandbox):
    name, task_id, prompt = strlen("ts", "")
    plain = judged(sandbox, name, task_id, prompt + "  return string.length;\n}\n")
    assert (plain.status, plain.detail) == ("pass", "")
    older = (
        "  class Box { constructor(s: string) { (this as any).n = s.length; } }\n"
        "  const box: any = {};\n  (Box as any).call(box, string);\n  return box.n;\n}\n"
    )  # only a class that was compiled to a function can be called
    verdict = judged(sandbox, name, task_id, prompt + older)
    assert verdict.status == "pass", verdict
    assert verdict.detail.startswith("compiled the second way, without flags; the first: ")
