"""SWE-bench: issues of real repositories, from the user's files. Source: its repository, 7a21e05.

The files are the instances and, in a folder, the git repositories they come from. Of each answer
that is a patch: it is applied to the base commit by four commands, the strictest first; the test
files and every conftest.py are put back, the test patch's files put in their place; the tests run;
the instance is resolved if all of FAIL_TO_PASS and of PASS_TO_PASS pass. Guards of P18: a log
without results, and without a sign that the suite ran, is no pass; nor is one that reports no
failure while the tests ended with another status than 0; a skipped test passes only where it
passed before; faults of the machine are told apart. Nothing here is sealed: the patch is part of
the process that prints the log.

What the repositories' tests need must be installed where midfill runs. Of the history only the
base commit is there, so that `--3way` knows its files alone.
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.evaluate.work import ENDED, identity_of, score_of
from midfill.sandbox.verdict import Limits, Outcome, Status, Verdict

if TYPE_CHECKING:
    from midfill.sandbox import Box, Sandbox

APPLY = (
    "git apply --verbose",
    "git apply --verbose --3way",
    "git apply --verbose --reject",
    "patch --batch --forward --fuzz=5 -p1 -i",
)
_FIELDS = ("instance_id", "repo", "base_commit", "problem_statement", "test_patch")
_TESTS = ("FAIL_TO_PASS", "PASS_TO_PASS")
_LIMITS = Limits(
    cpu_s=1800,
    wall_s=1800,
    memory_mb=4096,
    disk_mb=4096,
    files=200_000,
    processes=256,
    output_kb=32 * 1024,
)
_QUICK = Limits(cpu_s=120, wall_s=240, memory_mb=2048, disk_mb=4096, files=200_000, output_kb=1024)
_INSTRUCTION = (
    "You will be given an issue of the repository {repo}. Solve it by changing the repository. "
    "Answer with one unified diff that `git apply` takes, in a fence named diff.\n\n"
    "<issue>\n{problem_statement}\n</issue>\n"
)
_PYTEST = "pytest -rA"
_COMMANDS = {  # the harness's own, of its Python repositories
    "astropy/astropy": "pytest -rA -vv -o console_output_style=classic --tb=no",
    "django/django": "./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1",
    "mwaskom/seaborn": "pytest --no-header -rA",
    "sphinx-doc/sphinx": "tox --current-env -epy39 -v --",
    "sympy/sympy": (
        "PYTHONWARNINGS='ignore::UserWarning,ignore::SyntaxWarning' bin/test -C --verbose"
    ),
}
_NO_TESTS = (  # files of a test patch that are no tests
    ".json .png csv .txt .md .jpg .jpeg .pkl .yml .yaml .toml".split()
)
_START, _END = ">>>>> Start Test Output", ">>>>> End Test Output"


def load(path: Path | None = None, *, repositories: Path | None = None) -> "SWEBench":
    """The instances of a file; `repositories` holds the clones, named OWNER__NAME, OWNER/NAME or NAME.

    A row may say in `test_command` how its tests are run; otherwise its `eval_script` or the
    harness's own table does. Raises ConfigError.
    """
    files = files_of(need(path, "swebench", "a JSONL or Parquet file of instances"))
    rows = [row for file in files for row in read_rows(file)]
    require(rows, _FIELDS + _TESTS, files[0])
    for row in rows:
        _parser_of(row)
    folder = repositories or files[0].parent / "repositories"
    return SWEBench(version=version_of(files), rows=tuple(rows), folder=folder)


@dataclass(frozen=True, kw_only=True)
class SWEBench:
    """Issues to solve by a patch."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    folder: Path
    name: str = "swebench"
    rules: tuple[str, ...] = ("swebench", "raw")

    def tasks(self, style: Style) -> list[Task]:
        """All instances; the repository is the `group`. Agents' patches are scored as samples."""
        return [
            Task(
                task_id=str(row["instance_id"]),
                prompt=_prompt(row, style),
                row={**row, "group": row["repo"]},
            )
            for row in self.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The first diff of an answer; `raw` takes it as it is."""
        return completion if rule == "raw" else diff_of(completion)

    def program(self, task: Task, extracted: str) -> "Patch | Score":
        """The patch and how it is tested. Raises ConfigError where there is no such repository."""
        if not extracted.strip():
            return Score(value=0.0, detail="the patch is empty")
        row = task.row
        return Patch(
            patch=extracted if extracted.endswith("\n") else extracted + "\n",
            repository=find_repository(self.folder, row["repo"]),
            commit=row["base_commit"],
            test_patch=row["test_patch"],
            command=test_command(row),
            parser=_parser_of(row),
            fail_to_pass=_names(row["FAIL_TO_PASS"]),
            pass_to_pass=_names(row["PASS_TO_PASS"]),
            fail_only=row.get("eval_type") == "fail_only",
        )

    def canonical(self, task: Task) -> str | None:
        """The patch that solved the issue."""
        return task.row.get("patch")

    def baselines(self, task: Task) -> Mapping[str, str]:
        """No change at all, which must not pass."""
        return {"nothing": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change of a repository at a commit, and the tests that must hold afterwards."""

    patch: str
    repository: Path
    commit: str
    test_patch: str
    command: str  # of a shell, in the repository's folder
    parser: str  # name of the log's form
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    fail_only: bool = False  # a test that the log does not name has passed
    language: str = "python"
    limits: Limits = field(default_factory=lambda: _LIMITS)

    def identity(self) -> str:
        """Everything that decides the score; the repository by its commit."""
        tests = (self.test_patch, self.command, self.parser, self.fail_to_pass, self.pass_to_pass)
        return identity_of("patch", self.patch, self.commit, *tests, self.fail_only, self.limits)

    def judge(self, sandbox: "Sandbox") -> Score:
        """1 where all the tests named pass."""
        tree = tree_of(self.repository, self.commit)
        tests = restored(tree, self.test_patch)
        with sandbox.box(limits=self.limits) as box:
            problem = self._prepare(box, tree, tests)
            if problem is not None:
                return _score(problem, sandbox, status=ENDED.get(problem.ended, "infra"))
            applied = apply_patch(box, self.patch)
            if not applied.ok:
                status = ENDED.get(applied.ended, "error")
                return _score(applied, sandbox, status=status, detail="the patch does not apply")
            problem = _restore(box, tests)
            if problem is not None:
                return _score(problem, sandbox, status="error", detail="tests cannot be put back")
            outcome = box.run(
                ("/bin/sh", "-c", f"{self.command} 2>&1"),
                limits=self.limits,
                environment=_environment() | {"PWD": "repository"},
                address_space=False,
            )
        return self._grade(outcome, sandbox)

    def _prepare(self, box: "Box", tree: "Tree", tests: "Tests") -> Outcome | None:
        """Lay the tree out in the box, as a repository of one commit."""
        box.write("answer.diff", self.patch.encode())
        unpack = "mkdir repository && tar -x -f - -C repository"
        outcome = _shell(box, unpack, stdin=tar_of(tree))
        if outcome.ok:
            outcome = _shell(
                box,
                "cd repository && git init -q && git add -A -f . && git commit -q --allow-empty "
                "--no-verify -m base",
            )
        return None if outcome.ok else outcome

    def _grade(self, outcome: Outcome, sandbox: "Sandbox") -> Score:
        if outcome.ended in ENDED:
            return _score(outcome, sandbox, status=ENDED[outcome.ended])
        log = outcome.stdout.decode("utf-8", "replace")
        status = outcome.status if outcome.ended == "exit" else -outcome.status
        grade = grade_log(
            log,
            status,
            parser=self.parser,
            fail_to_pass=self.fail_to_pass,
            pass_to_pass=self.pass_to_pass,
            fail_only=self.fail_only,
        )
        said: Status = "pass" if grade.resolved else "wrong" if grade.found else "error"
        if not grade.found and grade.fault and grade.fault[1] == "environment":
            said = "infra"
        also = {"fail_to_pass": grade.fixed, "pass_to_pass": grade.kept}
        return _score(outcome, sandbox, status=said, detail=grade.detail, also=also)


Tree = dict[str, tuple[int, bytes]]  # path -> mode, contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """What must lie in the tree when the tests run, and what must not."""

    files: Tree
    removed: tuple[str, ...]
    conftests: frozenset[str]  # of the base commit; all others go


def tree_of(repository: Path, commit: str) -> Tree:
    """All files of a commit; submodules are left out. Raises ConfigError."""
    listing = _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit)
    entries = [line.partition(b"\t") for line in listing.split(b"\0") if line]
    heads = [(head.split(), os.fsdecode(path)) for head, _, path in entries]
    blobs = [(int(head[0], 8), head[2], path) for head, path in heads if head[1] == b"blob"]
    asked = b"".join(name + b"\n" for _, name, _ in blobs)
    stream = io.BytesIO(_git(repository, "cat-file", "--batch", stdin=asked))
    tree: Tree = {}
    for mode, _, path in blobs:
        size = int(stream.readline().split()[2])
        tree[path] = (mode, stream.read(size))
        stream.read(1)
    return tree


def restored(tree: Tree, test_patch: str) -> Tests:
    """The test files as the test patch leaves them, and every conftest.py of the base commit.

    Raises ConfigError where the test patch does not fit the base commit.
    """
    conftests = {path: tree[path] for path in tree if PurePosixPath(path).name == "conftest.py"}
    old = [path for path in _paths(test_patch, "---") if path in tree]
    new = _paths(test_patch, "+++")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in old:
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tree[path][1])
        done = subprocess.run(
            ("git", "apply", "--whitespace=nowarn", "-"),
            cwd=root,
            input=test_patch.encode(),
            capture_output=True,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        )
        if done.returncode:
            raise ConfigError(
                "a test patch does not fit its base commit",
                why=done.stderr.decode("utf-8", "replace").strip(),
                fix="give the repositories and instances as they were published",
            )
        left = {path: root / path for path in new}
        files = {p: (tree.get(p, (0o100644, b""))[0], f.read_bytes()) for p, f in left.items()}
    removed = tuple(path for path in old if path not in files)
    return Tests(files=conftests | files, removed=removed, conftests=frozenset(conftests))


def tar_of(tree: Tree) -> bytes:
    """The files as a tar archive, with their modes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (mode, data) in tree.items():
            info = tarfile.TarInfo(path)
            if mode == 0o120000:
                info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(data)
                archive.addfile(info)
                continue
            info.mode, info.size = mode & 0o777, len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def apply_patch(box: "Box", patch: str) -> Outcome:
    """Apply `answer.diff` in `repository` by the first command that can; the outcome of the last."""
    outcome = Outcome(ended="infra", detail="nothing was tried")
    for number, command in enumerate(APPLY):
        if number:
            _shell(box, "cd repository && git checkout -q -- . ; git clean -fdq")
        outcome = _shell(box, f"cd repository && {command} ../answer.diff")
        if outcome.ok or outcome.ended in ENDED:
            return outcome
    check = _shell(box, "cd repository && git apply --check --reverse ../answer.diff")
    return check if check.ok else outcome


def _restore(box: "Box", tests: Tests) -> Outcome | None:
    """Put the test files back as they should be, and remove what the patch added to fool them."""
    found = _shell(box, "cd repository && find . -name conftest.py -not -path './.git/*' -print0")
    there = {os.fsdecode(p)[2:] for p in found.stdout.split(b"\0") if p}
    gone = sorted(there - tests.conftests) + list(tests.removed)
    # What the patch made a link or a folder of goes first: the archive would follow it.
    names = b"".join(os.fsencode(path) + b"\0" for path in [*gone, *tests.files])
    outcome = _shell(box, "cd repository && xargs -0 -r rm -rf --", stdin=names)
    if outcome.ok:
        outcome = _shell(box, "tar -x -f - -C repository", stdin=tar_of(tests.files))
    return None if outcome.ok else outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What the log of a test run says."""

    found: bool  # there are results that can be believed
    resolved: bool
    fixed: float  # share of FAIL_TO_PASS that passes
    kept: float  # share of PASS_TO_PASS that still passes
    fault: tuple[str, str] | None  # a fault of the machine that the log shows, and its tier
    detail: str


# Signs that a suite ran although its log names no test. Every number is at least one: a runner
# that lost its browser at once still says "Executed 0 of 0".
_RAN = re.compile(
    r"Executed [1-9]\d* of \d+|TOTAL: [1-9]\d* (?:SUCCESS|FAILED)|[1-9]\d* passing"
    r"|Tests:\s+[1-9]\d*|Test Suites:\s+(?:\d+ \w+, )*[1-9]\d* total|^# tests [1-9]\d*"
    r"|[1-9]\d* specs?, \d+ failures?|': ok$",
    re.MULTILINE,
)
_FAULTS = tuple(
    (reason, tier, re.compile(pattern, re.MULTILINE))
    for reason, tier, pattern in (
        ("browser", "environment", "Failed to launch|Failed to connect to the bus"),
        (
            "display",
            "environment",
            "[Cc]annot open display|Missing X server|unable to open X display",
        ),
        ("memory", "environment", "Cannot allocate memory|OutOfMemoryError|^Killed$"),
        (
            "container",
            "environment",
            "Error response from daemon|Cannot connect to the Docker daemon",
        ),
        ("network", "environment", "Could not resolve host|Temporary failure in name resolution"),
        ("module", "ambiguous", "Cannot find module|MODULE_NOT_FOUND|ModuleNotFoundError"),
        ("no tests", "ambiguous", "no tests ran|collected 0 items"),
        ("time", "ambiguous", r"Timeout error: \d+ seconds exceeded"),
    )
)


def grade_log(
    log: str,
    exit_status: int | None,
    *,
    parser: str,
    fail_to_pass: Iterable[str],
    pass_to_pass: Iterable[str],
    fail_only: bool = False,
) -> Grade:
    """What the log says of the tests named, and whether it can be believed."""
    results = PARSERS[parser](log)
    bad = _unbelievable(results, log, exit_status)
    if bad:
        fault = next(((why, tier) for why, tier, seen in _FAULTS if seen.search(log)), None)
        detail = bad if fault is None else f"{bad} ({fault[1]}: {fault[0]})"
        return Grade(found=False, resolved=False, fixed=0.0, kept=0.0, fault=fault, detail=detail)
    wanted, old = tuple(fail_to_pass), tuple(pass_to_pass)
    if fail_only:
        bad_fixed = [name for name in wanted if results.get(name) == "FAILED"]
        bad_kept = [name for name in old if results.get(name) == "FAILED"]
    else:
        bad_fixed = [name for name in wanted if not _has_passed(name, results)]
        bad_kept = [name for name in old if _has_failed(name, results)]
    return Grade(
        found=True,
        resolved=not bad_fixed and not bad_kept,
        fixed=1 - len(bad_fixed) / len(wanted) if wanted else 1.0,
        kept=1 - len(bad_kept) / len(old) if old else 1.0,
        fault=None,
        detail="; ".join(f"{name} fails" for name in (bad_fixed + bad_kept)[:5]),
    )


def _unbelievable(results: Mapping[str, str], log: str, exit_status: int | None) -> str:
    """Why a log is no evidence; empty where it is."""
    if not results and not _RAN.search(log):
        return "nothing says that the tests ran"
    failures = {"FAILED", "ERROR"} & set(results.values())
    if results and exit_status not in (None, 0) and not failures:
        return f"the tests ended with status {exit_status}, and the log tells of no failure"
    return ""


def _found(name: str, results: Mapping[str, str]) -> str | None:
    """The result of a test; of a name cut within its parameters, what all that begin so agree on."""
    if name in results:
        return results[name]
    if name.count("[") <= name.count("]"):
        return None
    seen = [result for other, result in results.items() if other.startswith(name)]
    passing = {result in ("PASSED", "XFAIL") for result in seen}
    return seen[0] if len(passing) == 1 else None


def _has_passed(name: str, results: Mapping[str, str]) -> bool:
    return _found(name, results) in ("PASSED", "XFAIL")


def _has_failed(name: str, results: Mapping[str, str]) -> bool:
    """A test that passed before and is now skipped has not failed."""
    return _found(name, results) in (None, "FAILED", "ERROR")


_STATUSES = ("FAILED", "PASSED", "SKIPPED", "ERROR", "XFAIL")
Parser = Callable[[str], dict[str, str]]


def _pytest_words(line: str) -> tuple[str, str] | None:
    """(status, test) of a line of pytest's short summary."""
    if not line.startswith(_STATUSES):
        return None
    if line.startswith("FAILED"):
        line = line.replace(" - ", " ")
    words = line.split()
    if len(words) < 2 or _is_count(words[0], words[1]):
        return None
    return words[0], words[1]


def _is_count(status: str, name: str) -> bool:
    """`SKIPPED [3] file.py:4: why` tells of a number, not of a test."""
    return status == "SKIPPED" and re.fullmatch(r"\[\d+\]\n?", name) is not None


def _parse_pytest(log: str) -> dict[str, str]:
    found = (_pytest_words(line) for line in log.split("\n"))
    return {name: status for status, name in filter(None, found)}


def _parse_pytest_options(log: str) -> dict[str, str]:
    """As pytest's, with paths in parameters reduced to their last part."""
    return {_short_option(name): status for name, status in _parse_pytest_pairs(log)}


def _parse_pytest_pairs(log: str) -> list[tuple[str, str]]:
    found = (_pytest_words(line) for line in log.split("\n"))
    return [(name, status) for status, name in filter(None, found)]


def _short_option(name: str) -> str:
    split = re.search(r"(.*?)\[(.*)\]", name)
    if split is None:
        return name
    main, option = split.groups()
    if option.startswith("/") and not option.startswith("//") and "*" not in option:
        option = "/" + option.split("/")[-1]
    return f"{main}[{option}]"


_ESCAPES = {code: None for code in range(1, 32)}


def _parse_pytest_v2(log: str) -> dict[str, str]:
    """Later and older pytest: colours are dropped, the status may stand at the end of the line."""
    results = {}
    for raw in log.split("\n"):
        line = re.sub(r"\[(\d+)m", "", raw).translate(_ESCAPES)
        if line.startswith(_STATUSES):
            if line.startswith("FAILED"):
                line = line.split(" - ", 1)[0]
            words = line.split()
            if len(words) >= 2 and not _is_count(words[0], words[1]):
                results[" ".join(words[1:])] = words[0]
        elif line.endswith(_STATUSES):
            words = line.split()
            if len(words) >= 2:
                results[" ".join(words[:-1])] = words[-1]
    return results


def _parse_matplotlib(log: str) -> dict[str, str]:
    return _parse_pytest(log.replace("MouseButton.LEFT", "1").replace("MouseButton.RIGHT", "3"))


def _parse_seaborn(log: str) -> dict[str, str]:
    results = {}
    for line in log.split("\n"):
        words = line.split()
        if len(words) < 2:
            continue
        if line.startswith("FAILED"):
            results[words[1]] = "FAILED"
        elif " PASSED " in line:
            if words[1] == "PASSED":
                results[words[0]] = "PASSED"
        elif line.startswith("PASSED"):
            results[words[1]] = "PASSED"
    return results


def _parse_sympy(log: str) -> dict[str, str]:
    results = {
        f"{file}.py:{test}": "FAILED"
        for _, file, test, _ in re.findall(r"(_*) (.*)\.py:(.*) (_*)", log)
    }
    for line in (raw.strip() for raw in log.split("\n")):
        for end, status in ((" E", "ERROR"), (" F", "FAILED"), (" ok", "PASSED")):
            if line.startswith("test_") and line.endswith(end):
                results[line.split()[0]] = status
    return results


_DJANGO_ENDS = (
    (" ... ok", "PASSED"),
    (" ... OK", "PASSED"),
    (" ...  OK", "PASSED"),
)
_DJANGO_BROKEN = tuple(  # a message of Django's own stands between the test and its "ok"
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^(.*?)\s\.\.\.\sTesting\ against\ Django\ installed\ in\ ((?s:.*?))\ silenced\)\.\nok$",
        r"^(.*?)\s\.\.\.\sInternal\ Server\ Error:\ \/(.*)\/\nok$",
        r"^(.*?)\s\.\.\.\sSystem check identified no issues \(0 silenced\)\nok$",
    )
)


def _parse_django(log: str) -> dict[str, str]:
    results: dict[str, str] = {}
    last = None
    for line in (raw.strip() for raw in log.split("\n")):
        if "--version is equivalent to version" in line:
            results["--version is equivalent to version"] = "PASSED"
        if " ... " in line:
            last = line.split(" ... ")[0]
        results |= _django_line(line)
        if line.startswith("ok") and last is not None:
            results[last] = "PASSED"
    for pattern in _DJANGO_BROKEN:
        results |= {found[1]: "PASSED" for found in pattern.finditer(log)}
    return results


def _django_line(line: str) -> dict[str, str]:
    results = {}
    end = next((end for end, _ in _DJANGO_ENDS if line.endswith(end)), None)
    if end is not None:
        if line.startswith("Applying sites.0002_alter_domain_unique...test_no_migrations"):
            line = line.split("...", 1)[-1].strip()
        results[line.rsplit(end, 1)[0]] = "PASSED"
    if " ... skipped" in line:
        results[line.split(" ... skipped")[0]] = "SKIPPED"
    for end, start, status in ((" ... FAIL", "FAIL:", "FAILED"), (" ... ERROR", "ERROR:", "ERROR")):
        if line.endswith(end):
            results[line.split(end)[0]] = status
        if line.startswith(start) and len(line.split()) > 1:
            results[line.split()[1]] = status
    return results


PARSERS: Mapping[str, Parser] = {
    "pytest": _parse_pytest,
    "pytest_options": _parse_pytest_options,
    "pytest_v2": _parse_pytest_v2,
    "django": _parse_django,
    "matplotlib": _parse_matplotlib,
    "seaborn": _parse_seaborn,
    "sympy": _parse_sympy,
}
_PARSER_OF = {  # the harness's names of parsers and of repositories; all others: pytest
    **dict.fromkeys("astropy scikit sphinx scikit-learn".split(), "pytest_v2"),
    **dict.fromkeys("pydicom requests pylint".split(), "pytest_options"),
    **dict.fromkeys(
        "astroid flask marshmallow pvlib pvlib-python pyvista sqlfluff xarray pytest".split(),
        "pytest",
    ),
    **{name: name for name in PARSERS},
}


def _parser_of(row: Mapping[str, Any]) -> str:
    """Raises ConfigError for a log's form that midfill cannot read."""
    named = str(row.get("log_parser") or "")
    if not named:
        return _PARSER_OF.get(str(row["repo"]).rpartition("/")[2], "pytest")
    parser = _PARSER_OF.get(named.removeprefix("parse_log_"))
    if parser is None:
        raise ConfigError(
            f"logs of {row['instance_id']} cannot be read",
            why=f"its log parser is {named!r}; midfill reads those of Python's test runners",
            fix="leave the instance out",
        )
    return parser


def test_command(row: Mapping[str, Any]) -> str:
    """The shell command of the tests, run in the repository's folder."""
    own = str(row.get("test_command") or "") or _of_script(str(row.get("eval_script") or ""))
    if own:
        return f"cd repository && {own}"
    repo = str(row["repo"])
    files = [p for p in _paths(row["test_patch"], "+++") if not p.endswith(tuple(_NO_TESTS))]
    if repo == "django/django":
        names = [p.removesuffix(".py").removeprefix("tests/").replace("/", ".") for p in files]
        files = names
    return f"cd repository && {_COMMANDS.get(repo, _PYTEST)} {' '.join(files)}"


def _of_script(script: str) -> str:
    """The lines between an evaluation script's two marks."""
    lines = script.split("\n")
    marks = [n for n, line in enumerate(lines) if _START in line or _END in line]
    return "\n".join(lines[marks[0] + 1 : marks[1]]) if len(marks) == 2 else ""


def diff_of(answer: str) -> str:
    """The first element or fence named diff or patch, else the first one of any name, else all."""
    found = re.findall(r"<([\w-]+)>(.*?)</\1>", answer, re.DOTALL)
    found += re.findall(r"```(\w+)?\n(.*?)```", answer, re.DOTALL)
    named = [text for name, text in found if name in ("diff", "patch")]
    return next(iter(named or [text for _, text in found]), answer.split("</s>")[0])


def find_repository(folder: Path, repo: str) -> Path:
    """The clone of OWNER/NAME. Raises ConfigError."""
    owner, _, name = repo.rpartition("/")
    for place in (f"{owner}__{name}", f"{owner}/{name}", name, f"{name}.git"):
        if (folder / place).is_dir():
            return folder / place
    raise ConfigError(
        f"there is no clone of {repo}",
        why=f"{folder} holds neither {owner}__{name} nor {name}",
        fix=f"git clone https://github.com/{repo} {folder}/{owner}__{name}",
    )


def _names(value: Any) -> tuple[str, ...]:
    """Names of tests: a list, or one as JSON text."""
    return tuple(json.loads(value) if isinstance(value, str) else value)


def _paths(patch: str, mark: str) -> list[str]:
    """The files that a patch takes (`---`) or leaves (`+++`)."""
    lines = re.findall(rf"^{re.escape(mark)} (\S.*?)(?:\t.*)?$", patch, re.MULTILINE)
    return [line[2:] for line in lines if line.startswith(("a/", "b/"))]


def _prompt(row: Mapping[str, Any], style: Style) -> Prompt:
    text = _INSTRUCTION.format(repo=row["repo"], problem_statement=row["problem_statement"])
    if style == "base":
        return Prompt(text=f"{text}\n```diff\n", stop=("\n```",), max_tokens=2048)
    return Prompt(messages=({"role": "user", "content": text},), max_tokens=4096)


def _environment() -> dict[str, str]:
    """Tools of the environment that midfill runs in come first; git asks nobody who it is."""
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "midfill"), ("EMAIL", "midfill@localhost"))
    }
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONHASHSEED": "0", "TZ": "UTC", **who}


def _shell(box: "Box", command: str, stdin: bytes = b"") -> Outcome:
    return box.run(
        ("/bin/sh", "-c", command),
        stdin=stdin,
        limits=_QUICK,
        environment=_environment(),
        address_space=False,
    )


def _git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        ("git", "-c", "safe.directory=*", "-C", str(repository), *arguments),
        input=stdin,
        capture_output=True,
    )
    if done.returncode:
        raise ConfigError(
            f"{repository} cannot give {arguments[-1]}",
            why=done.stderr.decode("utf-8", "replace").strip(),
            fix=f"git -C {repository} fetch --all",
        )
    return done.stdout


def _score(
    outcome: Outcome,
    sandbox: "Sandbox",
    *,
    status: Status,
    detail: str = "",
    also: Mapping[str, float] | None = None,
) -> Score:
    said = (outcome.stdout + outcome.stderr).decode("utf-8", "replace")
    verdict = Verdict(
        status=status,
        sealed=False,
        level=sandbox.level,
        detail=detail or outcome.detail or said.strip()[-500:],
        output=said[-20_000:],
        cpu_s=outcome.cpu_s,
        wall_s=outcome.wall_s,
    )
    return score_of(verdict, also)
