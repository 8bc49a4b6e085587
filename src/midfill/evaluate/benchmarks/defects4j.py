"""Defects4J: Java bugs that one method mends, from the user's files.

The bugs are `single_function_repair.json` (Xia et al. 2023): for each bug the buggy and the fixed
method and the lines that it takes. Its folder `location` names the files. The projects are working
copies that `defects4j checkout -p Lang -v 1b -w Lang-1` made. The model sees the buggy method and
writes the whole method; that takes its place, the project is compiled and all its tests are run
(DeepSeek-Coder-V2 section 4.3). A bug is mended if no test fails. What `defects4j` itself needs
must be seen from inside the sandbox; other commands can be given in its place.
"""

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.userfile import need, read_object, require, version_of
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.evaluate.work import ENDED, identity_of, unsealed
from midfill.sandbox.verdict import Limits, Outcome, Status

if TYPE_CHECKING:
    from midfill.sandbox import Box, Sandbox

_FIELDS = ("buggy", "fix", "start", "end")
_LIMITS = Limits(
    cpu_s=1800,
    wall_s=1800,
    memory_mb=4096,
    disk_mb=2048,
    files=100_000,
    processes=256,
    output_kb=8192,
)
_INSTRUCTION = (
    "The following Java method has a bug. Answer with the whole corrected method, in one fence.\n"
    "```java\n{buggy}\n```\n"
)
_FAILING = re.compile(r"^Failing tests:\s*(\d+)\s*$", re.MULTILINE)


def load(
    path: Path | None = None,
    *,
    projects: Path | None = None,
    compile_command: str = "defects4j compile",
    test_command: str = "defects4j test",
) -> "Defects4J":
    """The bugs of a file; `projects` holds the working copies, each under its bug's name.

    Test commands print `Failing tests: N`, as `defects4j test` does. Raises ConfigError.
    """
    file = need(path, "defects4j", "single_function_repair.json beside its folder `location`")
    bugs = read_object(file)
    rows = [{"bug": name, **row, **_place(file, name, row)} for name, row in bugs.items()]
    require(rows, _FIELDS, file)
    return Defects4J(
        version=version_of([file]),
        rows=tuple(rows),
        folder=need(projects or file.parent / "projects", "defects4j", "the working copies"),
        compile_command=compile_command,
        test_command=test_command,
    )


@dataclass(frozen=True, kw_only=True)
class Defects4J:
    """Methods to mend."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    folder: Path
    compile_command: str
    test_command: str
    name: str = "defects4j"
    rules: tuple[str, ...] = ("defects4j", "raw")

    def tasks(self, style: Style) -> list[Task]:
        """All bugs; the project is the `group`."""
        return [
            Task(
                task_id=row["bug"],
                prompt=_prompt(row["buggy"], style),
                language="java",
                row={**row, "group": row["bug"].partition("-")[0]},
            )
            for row in self.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """What the first fence holds, or the whole answer; `raw` takes it as it is."""
        found = re.search(r"```(?:java)?[^\S\n]*\n(.*?)(?:```|\Z)", completion, re.DOTALL | re.I)
        return completion if rule == "raw" or not found else found[1]

    def program(self, task: Task, extracted: str) -> "Method | Score":
        """The project with the method in its place. Raises ConfigError where it is missing."""
        if not extracted.strip():
            return Score(value=0.0, detail="there is no method")
        row = task.row
        project = self.folder / row["bug"]
        if not project.is_dir():
            raise ConfigError(
                f"there is no working copy of {row['bug']}",
                why=f"{project} is no folder",
                fix=f"defects4j checkout -p {row['bug'].replace('-', ' -v ')}b -w {project}",
            )
        return Method(
            code=extracted,
            project=project,
            path=find_source(project, row["path"]),
            start=int(row["start"]),
            end=int(row["end"]),
            compile_command=self.compile_command,
            test_command=self.test_command,
        )

    def canonical(self, task: Task) -> str | None:
        """The method as it was mended."""
        return task.row["fix"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The buggy method, which must not pass."""
        return {"the buggy method": task.row["buggy"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method that takes the place of some lines of a project."""

    code: str
    project: Path
    path: str  # of the file, in the project
    start: int  # the first line that goes, counted from 1
    end: int  # the last
    compile_command: str
    test_command: str
    language: str = "java"
    limits: Limits = field(default_factory=lambda: _LIMITS)

    def identity(self) -> str:
        """Everything that decides the score; the project by its name and the file's contents."""
        source = (self.project / self.path).read_bytes()
        place = (self.project.name, self.path, self.start, self.end, source)
        commands = (self.compile_command, self.test_command)
        return identity_of("method", self.code, *place, *commands, self.limits)

    def judge(self, sandbox: "Sandbox") -> Score:
        """1 where it compiles and no test fails."""
        with sandbox.box(limits=self.limits) as box:
            unpacked = self._run(box, "mkdir project && tar -x -f - -C project", self.archive())
            if not unpacked.ok:
                return _score(unpacked, sandbox, "infra", "the project cannot be laid out")
            compiled = self._run(box, f"cd project && {self.compile_command}")
            if not compiled.ok:
                status = ENDED.get(compiled.ended, "error")
                return _score(compiled, sandbox, status, f"compile: {_said(compiled)[-2000:]}")
            tested = self._run(box, f"cd project && {self.test_command}")
        return _score(tested, sandbox, *_look(tested))

    def _run(self, box: "Box", command: str, stdin: bytes = b"") -> Outcome:
        shell = ("/bin/sh", "-c", f"{command} 2>&1")
        return box.run(shell, stdin=stdin, limits=self.limits, address_space=False)

    def archive(self) -> bytes:
        """The project as a tar archive, the method in its place."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for file in sorted(self.project.rglob("*")):
                name = file.relative_to(self.project).as_posix()
                if name != self.path:
                    archive.add(file, name, recursive=False)
                    continue
                data = replace_lines(file.read_bytes(), self.start, self.end, self.code)
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def replace_lines(source: bytes, start: int, end: int, code: str) -> bytes:
    """The file with lines `start` to `end`, counted from 1, replaced; all other bytes stay."""
    lines = source.split(b"\n")
    return b"\n".join([*lines[: start - 1], code.rstrip("\n").encode(), *lines[end:]])


def find_source(project: Path, path: str) -> str:
    """Where in the project a file lies that is named from its source folder. Raises ConfigError."""
    found = sorted(p for p in project.rglob(Path(path).name) if p.as_posix().endswith(f"/{path}"))
    if not found:
        raise ConfigError(
            f"{project} has no {path}",
            why="the list of locations names it",
            fix="check the working copy out again",
        )
    return found[0].relative_to(project).as_posix()


def _place(file: Path, bug: str, row: Mapping[str, Any]) -> dict[str, str]:
    """The file of a bug, from its row or from the folder of locations. Raises ConfigError."""
    if "path" in row:
        return {}
    listing = file.parent / "location" / f"{bug}.buggy.lines"
    try:
        return {"path": listing.read_text(encoding="utf-8").split("#")[0].strip()}
    except OSError as problem:
        raise ConfigError(
            f"nothing says in which file {bug} is",
            why=str(problem),
            fix="put the folder `location` of the set beside its JSON file",
        ) from problem


def _prompt(buggy: str, style: Style) -> Prompt:
    text = _INSTRUCTION.format(buggy=buggy.rstrip("\n"))
    if style == "base":
        return Prompt(text=f"{text}\n```java\n", stop=("\n```",), max_tokens=2048)
    return Prompt(messages=({"role": "user", "content": text},), max_tokens=2048)


def _look(outcome: Outcome) -> tuple[Status, str]:
    if outcome.ended in ENDED:
        return ENDED[outcome.ended], outcome.detail
    said = _said(outcome)
    counts = _FAILING.findall(said)
    if not counts:
        return "error", f"nothing says that the tests ran: {said[-2000:]}"
    if int(counts[-1]):
        return "wrong", said[said.rindex("Failing tests") :][:2000]
    if not outcome.ok:
        return "error", f"no test failed, but the command ended with status {outcome.status}"
    return "pass", ""


def _said(outcome: Outcome) -> str:
    return outcome.stdout.decode("utf-8", "replace").strip()


def _score(outcome: Outcome, sandbox: "Sandbox", status: Status, detail: str) -> Score:
    return unsealed(outcome, sandbox, status, detail, output=_said(outcome)[-20_000:])
