"""Exercism's Python track by Aider's protocol: edit a stub until its tests pass, in two tries.

The reply holds the whole file, under its name, in one fence ("whole" format). `retry` makes the
second try's prompt out of what the tests said. Source: Aider, benchmark/prompts.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midfill.evaluate import data
from midfill.evaluate.benchmarks.common import take
from midfill.evaluate.result import Judged
from midfill.evaluate.task import Program, Prompt, Score, Style, Task
from midfill.evaluate.work import identity_of, judge_work
from midfill.sandbox.verdict import Limits, Verdict

if TYPE_CHECKING:
    from midfill.sandbox import Sandbox

FIELDS = ("id", "instructions", "solution_files", "test_files", "example_files")
ADDENDUM = """
####

Use the above instructions to modify the supplied files: {file}
Don't change the names of existing functions or classes, as they may be referenced from other code like unit tests, etc.
Only use standard libraries, don't suggest installing any packages.
"""
FAILED = """
####

See the testing errors above.
The tests are correct, don't try and change them.
Fix the code in {file} to resolve the errors.
"""
FORMAT = """
Return the whole content of {file} in this form, and nothing after it:

{file}
```
...
```
"""
# Exercises whose tests compare objects, or pass functions: they run beside the program, unsealed.
BESIDE = frozenset(
    "accumulate alphametics circular-buffer clock complex-numbers custom-set gigasecond linked-list "
    "meetup rational-numbers strain word-search error-handling".split()
)
# The one helper that a test imports and the rows do not hold, from what that test asks of it.
HELPER = "from test_utils import FileLike"
FILE_LIKE = """\
class FileLike:
    def __init__(self, fail_something=True):
        self.fail_something = fail_something
        self.is_open = self.was_open = self.did_something = False

    def open(self):
        self.is_open = self.was_open = True

    def close(self):
        self.is_open = False

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *error):
        self.close()

    def do_something(self):
        self.did_something = True
        if self.fail_something:
            raise RuntimeError("it was made to fail")
"""
RUNNER = """

def failures():
    import unittest

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(sys.modules["solution"]).run(result)
    return result.testsRun, [text for _, text in result.failures + result.errors]
"""
MAX_TOKENS = 2048  # ours
LIMITS = Limits(cpu_s=10, wall_s=30)
OUTPUT_LINES = 50  # of the tests' output that the second try is shown


@dataclass(frozen=True, slots=True)
class Beside:
    """Tests that run in the program's own process, which could forge what they say."""

    program: Program
    language: str = "python"
    limits: Limits = LIMITS

    def identity(self) -> str:
        """Program and tests."""
        return identity_of("beside", self.program.code, self.program.tests, self.limits)

    def judge(self, sandbox: "Sandbox") -> Score:
        """What the tests say, never sealed."""
        score = judge_work(self.program, sandbox)
        verdict = score.verdict and replace(score.verdict, sealed=False)
        return replace(score, verdict=verdict)


@dataclass(frozen=True, slots=True)
class Edit:
    """106 exercises, each a stub and its tests."""

    data: data.Rows
    name: str = "edit"
    rules: tuple[str, ...] = ("midfill", "livecodebench", "open-r1")

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All exercises in the order of the file; the set is for chat models."""
        return [Task(task_id=row["id"], prompt=_ask(row, style), row=row) for row in self.data.rows]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The file that `rule` takes from a completion."""
        return take(rule, task, completion, prompt="", entry_point=None)

    def program(self, task: Task, extracted: str) -> Program | Beside:
        """The file against the exercise's tests, which import it by its name."""
        (name, tests), module = next(iter(task.row["test_files"].items())), _module(task.row)
        head = (
            f"import sys\n\nimport solution\n\nsys.modules[{module!r}] = solution  # for {name}\n"
        )
        tests = tests.replace(HELPER, FILE_LIKE)
        if task.task_id not in BESIDE:
            return Program(code=extracted, tests=head + tests, limits=LIMITS)
        count = len(re.findall(r"^ +def test", tests, re.MULTILINE))
        return Beside(
            Program(
                code=f"{extracted}\n\n{head}{tests}{RUNNER}",
                tests=f"ran, failed = failures()\nassert not failed, failed[0]\n"
                f"assert ran == {count}\n",
                entry_point="failures",
                limits=LIMITS,
            )
        )

    def measures(self, task: Task, completion: str, extracted: str) -> Mapping[str, float]:
        """Whether the reply has the form that was asked for: the file's name above one fence."""
        name = re.escape(_file(task.row))
        fences = len(re.findall(r"^```", completion, re.MULTILINE))
        formed = re.search(rf"^\W*{name}\W*\n```", completion, re.MULTILINE) and fences == 2
        return {"well formed": float(bool(formed))}

    def retry(self, task: Task, completion: str, verdict: Verdict | Judged) -> Task:
        """The second try: the conversation so far, and what the tests said of it."""
        said = "\n".join(f"{verdict.detail}\n{verdict.output}".strip().split("\n")[:OUTPUT_LINES])
        said += "\n" + FAILED.format(file=_file(task.row))
        if task.prompt.messages is None:
            text = f"{task.prompt.text}{completion}\n```\n\n{said}\n{_file(task.row)}\n```\n"
            return replace(task, prompt=replace(task.prompt, text=text))
        turns = (
            *task.prompt.messages,
            {"role": "assistant", "content": completion},
            {"role": "user", "content": said},
        )
        return replace(task, prompt=replace(task.prompt, messages=turns))

    def canonical(self, task: Task) -> str:
        """The track's own solution."""
        return next(iter(task.row["example_files"].values()))

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The stub as it is."""
        return {"the stub": next(iter(task.row["solution_files"].values()))}


def _file(row: Mapping[str, Any]) -> str:
    return next(iter(row["solution_files"]))


def _module(row: Mapping[str, Any]) -> str:
    return _file(row).removesuffix(".py").replace("/", ".")


def _ask(row: Mapping[str, Any], style: Style) -> Prompt:
    name, stub = next(iter(row["solution_files"].items()))
    text = f"{row['instructions'].rstrip()}\n{ADDENDUM.format(file=name)}\n{name}\n```\n{stub}```\n"
    if style == "base":
        return Prompt(text=f"{text}\n{name}\n```\n", stop=("\n```",), max_tokens=MAX_TOKENS)
    turn = {"role": "user", "content": text + FORMAT.format(file=name)}
    return Prompt(messages=(turn,), max_tokens=MAX_TOKENS)


def load(own: Path | None = None) -> Edit:
    """The exercises, from the folder of benchmarks or the user's own file."""
    return Edit(data.load("edit", fields=FIELDS, own=own))
