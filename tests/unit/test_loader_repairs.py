"""SWE-bench's and Defects4J's forms on a repository and a project made here."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from midfill.errors import ConfigError, SandboxError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.benchmarks import defects4j, swebench, swebench_logs
from midfill.evaluate.task import Score
from midfill.evaluate.work import judge_work
from midfill.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox(workers=1) as made:
            yield made
    except SandboxError as problem:
        pytest.skip(f"programs cannot be run safely here: {problem.why}")


LIBRARY = "def add(a, b):\n    return a - b\n\n\ndef two():\n    return 2\n"
TESTS = "from lib import add, two\n\n\ndef test_two():\n    assert two() == 2\n"
MORE = TESTS + "\n\ndef test_add():\n    assert add(1, 2) == 3\n"
# pytest takes a second to start: this runner prints the same lines.
RUNNER = """\
import sys
sys.path[:0] = [".", "tests"]
try:
    import conftest
except ImportError:
    pass
import test_lib
failed = 0
for name in [name for name in vars(test_lib) if name.startswith("test_")]:
    try:
        getattr(test_lib, name)()
        print(f"PASSED tests/test_lib.py::{name}")
    except Exception as error:
        failed = 1
        print(f"FAILED tests/test_lib.py::{name} - {error!r}")
sys.exit(failed)
"""


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    """One issue of a repository with one commit, in the published form."""
    root = tmp_path_factory.mktemp("swe")
    tree = root / "repositories" / "someone__lib"
    (tree / "tests").mkdir(parents=True)

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@localhost")
        command = ("git", *who, "-C", str(tree), *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def diff(path: str, text: str) -> str:
        (tree / path).write_text(text)
        found = git("diff")
        git("checkout", "-q", ".")
        return found

    (tree / "lib.py").write_text(LIBRARY)
    (tree / "run.py").write_text(RUNNER)
    (tree / "tests/test_lib.py").write_text(TESTS)
    (tree / "conftest.py").write_text("")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "x")
    row = {
        "instance_id": "someone__lib-1",
        "repo": "someone/lib",
        "base_commit": git("rev-parse", "HEAD").strip(),
        "problem_statement": "add subtracts",
        "patch": diff("lib.py", LIBRARY.replace("a - b", "a + b")),
        "test_patch": diff("tests/test_lib.py", MORE),
        "FAIL_TO_PASS": json.dumps(["tests/test_lib.py::test_add"]),
        "PASS_TO_PASS": json.dumps(["tests/test_lib.py::test_two"]),
        "test_command": "python run.py",
    }
    (root / "set.jsonl").write_text(json.dumps(row))
    return opened("swebench", root / "set.jsonl")


def new_file(path: str, text: str) -> str:
    lines = text.splitlines()
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
    return head + f"@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


FORGE = 'print("PASSED tests/test_lib.py::test_add", flush=True)\nimport os\nos._exit(0)\n'


def answers(patch: str) -> dict[str, tuple[str, str]]:
    """Patch and what should come of it."""
    wrong = patch.replace("a + b", "a * b")
    moved = patch.replace("@@ -1,", "@@ -7,").replace(" def add", " def  add")
    return {
        "right": (patch, "pass"),
        "wrong": (wrong, "wrong"),
        "no patch": ("hello\n", "error"),
        "applies by patch alone": (moved, "pass"),
        "forges in a conftest": (wrong + new_file("tests/conftest.py", FORGE), "wrong"),
    }


@pytest.mark.parametrize("name", ["right", "wrong", "no patch", "forges in a conftest"])
def test_patches_are_judged(instances, sandbox, name):
    task = instances.tasks("instruct")[0]
    patch, status = answers(instances.canonical(task))[name]
    found = judge_work(instances.program(task, patch), sandbox)
    assert found.verdict is not None
    assert (found.verdict.status, found.verdict.sealed) == (status, False), found


def test_the_ladder_ends_with_patch(instances, sandbox):
    """A context that git refuses, patch takes with a fuzz of 5."""
    task = instances.tasks("instruct")[0]
    patch, status = answers(instances.canonical(task))["applies by patch alone"]
    found = judge_work(instances.program(task, patch), sandbox)
    assert found.verdict is not None
    assert found.verdict.status == status, found


def test_an_empty_patch_is_not_run(instances):
    task = instances.tasks("instruct")[0]
    assert instances.program(task, " \n").value == 0


def grade(log: str, status: int | None = 0, **changed) -> swebench_logs.Grade:
    options = {"parser": "pytest", "fail_to_pass": ["a"], "pass_to_pass": ["b"]} | changed
    return swebench_logs.grade_log(log, status, **options)


@pytest.mark.parametrize(
    ("log", "status", "found", "resolved"),
    [
        ("PASSED a\nPASSED b", 0, True, True),
        ("PASSED a\nFAILED b - x", 1, True, False),
        ("PASSED a", 0, True, False),  # one that is not named has not passed
        ("PASSED a\nPASSED b", 1, False, False),  # the log does not tell of the failure
        ("PASSED a\nPASSED b", None, True, True),
        ("PASSED a\nSKIPPED b", 0, True, True),
        ("SKIPPED a\nPASSED b", 0, True, False),
        ("XFAIL a\nPASSED b", 0, True, True),
        ("nothing", 0, False, False),
        ("Executed 0 of 0", 0, False, False),
        ("ERROR: a\nPASSED b", 0, True, False),  # a status of another name is no pass
    ],
)
def test_logs_are_graded(log, status, found, resolved):
    """P18: what a log must say before it is believed."""
    assert (grade(log, status).found, grade(log, status).resolved) == (found, resolved)


def test_a_suite_that_never_ran_passes_nothing():
    """P18: where only failures are named, silence needs evidence."""
    silent = {"fail_only": True}
    assert not grade("Executed 0 of 0", **silent).resolved
    assert grade("Executed 3 of 3", **silent).resolved


def test_faults_of_the_machine_stand_apart():
    fault = grade("Temporary failure in name resolution").fault
    assert fault == ("network", "environment")
    assert grade("no tests ran").fault == ("no tests", "ambiguous")


def test_names_cut_within_their_parameters():
    log = "PASSED t[log(photon)]\nPASSED b"
    assert grade(log, fail_to_pass=["t[log(pho"]).resolved
    both = "PASSED t[log(photon)]\nFAILED t[log(phone)]\nPASSED b"
    assert not grade(both, 1, fail_to_pass=["t[log(pho"]).resolved


def test_diffs_are_taken_from_answers(instances):
    task = instances.tasks("instruct")[0]
    answer = "<why>because</why>\n```diff\n--- a\n```"
    assert instances.extract(task, answer, "swebench") == "--- a\n"
    assert instances.extract(task, "```\nx\n```", "swebench") == "x\n"
    assert instances.extract(task, answer, "raw") == answer


def test_unknown_repositories_and_logs_are_refused(instances, tmp_path):
    with pytest.raises(ConfigError, match="no clone of other/lib"):
        swebench.find_repository(tmp_path, "other/lib")
    row = {**instances.rows[0], "log_parser": "parse_log_karma"}
    (tmp_path / "set.jsonl").write_text(json.dumps(row))
    with pytest.raises(ConfigError, match="cannot be read"):
        opened("swebench", tmp_path / "set.jsonl")


def test_commands_of_the_harness(instances):
    row = {**instances.rows[0], "test_command": ""}
    assert swebench.test_command(row) == "cd repository && pytest -rA tests/test_lib.py"
    django = {**row, "repo": "django/django"}
    assert swebench.test_command(django).endswith("--parallel 1 test_lib")
    script = f"x\n: '{swebench._START}'\nmake test\n: '{swebench._END}'\ny"
    assert swebench.test_command({**row, "eval_script": script}) == "cd repository && make test"


SOURCE = "class A {\n  int add(int a, int b) {\n    return a - b;\n  }\n}\n"
METHOD = "  int add(int a, int b) {\n    return a - b;\n  }\n"
# Stands for `defects4j compile` and `defects4j test`, which are not here.
COMPILE = "grep -q 'return .*;' src/org/A.java"
RUN_TESTS = (
    "if grep -q 'a + b' src/org/A.java; then echo 'Failing tests: 0'; "
    "elif grep -q silent src/org/A.java; then exit 0; "
    "else echo 'Failing tests: 1'; echo '  - org.ATest::add'; fi"
)


@pytest.fixture
def bugs(tmp_path: Path):
    fix = METHOD.replace("-", "+")
    bug = {"Lang-1": {"buggy": METHOD, "fix": fix, "start": 2, "end": 4}}
    (tmp_path / "single_function_repair.json").write_text(json.dumps(bug))
    (tmp_path / "location").mkdir()
    (tmp_path / "location/Lang-1.buggy.lines").write_text("org/A.java#3#    return a - b;\n")
    source = tmp_path / "projects/Lang-1/src/org/A.java"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    return opened(
        "defects4j",
        tmp_path / "single_function_repair.json",
        compile_command=COMPILE,
        test_command=RUN_TESTS,
    )


@pytest.mark.parametrize(
    ("method", "status"),
    [
        (METHOD.replace("-", "+"), "pass"),
        (METHOD, "wrong"),
        ("  int add(int a, int b) { retrun; }", "error"),
        ("  // silent\n  int add() { return 1; }", "error"),
    ],
)
def test_methods_take_their_place(bugs, sandbox, method, status):
    work = bugs.program(bugs.tasks("instruct")[0], method)
    found = judge_work(work, sandbox)
    assert found.verdict is not None
    assert (found.verdict.status, found.verdict.sealed) == (status, False), found


def test_an_answer_of_nothing_is_not_run(bugs):
    assert isinstance(bugs.program(bugs.tasks("base")[0], " "), Score)


def test_only_the_lines_of_the_method_change():
    source = "é\n".encode("latin-1") + SOURCE.encode()
    assert defects4j.replace_lines(source, 3, 5, METHOD) == source
    changed = defects4j.replace_lines(source, 3, 5, "x\n")
    assert changed == "é\nclass A {\nx\n}\n".encode("latin-1")


def test_the_bug_and_its_fix_are_known(bugs):
    task = bugs.tasks("instruct")[0]
    assert (task.task_id, task.language, task.row["group"]) == ("Lang-1", "java", "Lang")
    assert bugs.canonical(task) == METHOD.replace("-", "+")
    fenced = f"Here:\n```java\n{METHOD}```\nDone."
    assert bugs.extract(task, fenced, "defects4j") == METHOD
