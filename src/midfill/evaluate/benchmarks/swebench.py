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
base commit is there, so that `--3way` knows its files alone. What logs say is in swebench_logs.py.
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.swebench_logs import grade_log, parser_of
from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.evaluate.work import ENDED, identity_of, unsealed
from midfill.sandbox.verdict import Limits, Outcome, Status

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
        parser_of(row)
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
            parser=parser_of(row),
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
    detail = detail or outcome.detail or said.strip()[-500:]
    return unsealed(outcome, sandbox, status, detail, output=said[-20_000:], also=also)
