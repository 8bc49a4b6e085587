"""USACO's 307 olympiad problems, from the user's files. Source: its repository at 46f18c8.

The files are the problem dictionary (JSON, by problem id) and the folder of tests: for each problem
`N.in` and `N.out`, or `I.N` and `O.N`. One process for each test, with the problem's own limits;
the output must equal the expected one but for white space at both ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.userfile import need, read_object, require, version_of
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.evaluate.work import Case, Cases
from midfill.sandbox.verdict import Limits

_FIELDS = ("problem_id", "problem_level", "description", "num_tests")
_LIMITS = ("runtime_limit", "memory_limit")
_MEGABYTE = 1_000_000  # as the original counts

_PROMPT = """\
Please reply with a Python 3 solution to the below problem. Make sure to wrap your code in \
'```python' and '```' Markdown
delimiters, and include exactly one block of code with the entire solution
(in the final code step).
Reason through the problem and:
1. Restate the problem in plain English
2. Conceptualize a solution first in plain English
3. Write a pseudocode solution
4. Output the final Python solution with your solution steps in comments.
No outside libraries are allowed.

[BEGIN PROBLEM]
{description}
[END PROBLEM]
"""


def load(path: Path | None = None, *, tests: Path | None = None) -> "Usaco":
    """The problems of a dictionary file; `tests` is the folder of tests, or `tests` beside it."""
    file = need(path, "usaco", "usaco_subset307_dict.json, the problem dictionary")
    problems = list(read_object(file).values())
    require(problems, _FIELDS + _LIMITS, file)
    folder = need(tests or file.parent / "tests", "usaco", "the folder of tests")
    return Usaco(version=version_of([file]), rows=tuple(problems), folder=folder)


@dataclass(frozen=True, kw_only=True)
class Usaco:
    """Olympiad problems of four tiers."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    folder: Path
    name: str = "usaco"
    rules: tuple[str, ...] = ("usaco",)

    def tasks(self, style: Style) -> list[Task]:
        """All problems; the tier is the `group`."""
        return [
            Task(
                task_id=str(row["problem_id"]),
                prompt=_prompt(str(row["description"]), style),
                row={**row, "group": row["problem_level"]},
            )
            for row in self.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """What the first Python fence holds; the whole answer where none opens and closes."""
        _, opened, rest = completion.partition("```python")
        code, closed, _ = rest.partition("```")
        return code if opened and closed else completion

    def program(self, task: Task, extracted: str) -> Cases | Score:
        """The program with all tests of the problem. Raises ConfigError where one is missing."""
        seconds = float(task.row["runtime_limit"])
        memory_mb = round(float(task.row["memory_limit"]) * _MEGABYTE / (1 << 20))
        return Cases(
            code=extracted,
            cases=tuple(self._case(task, n + 1) for n in range(int(task.row["num_tests"]))),
            compare="stripped",
            limits=Limits(cpu_s=seconds, wall_s=seconds * 5 + 1, memory_mb=memory_mb),
            on_exit="error",
        )

    def _case(self, task: Task, number: int) -> Case:
        folder = self.folder / task.task_id
        for given, wanted in ((f"{number}.in", f"{number}.out"), (f"I.{number}", f"O.{number}")):
            if (folder / given).is_file():
                try:
                    return Case(
                        stdin=(folder / given).read_text(encoding="utf-8"),
                        expected=((folder / wanted).read_text(encoding="utf-8"),),
                    )
                except OSError as problem:
                    raise _no_test(folder, number, str(problem)) from problem
        raise _no_test(folder, number, f"there is neither {number}.in nor I.{number}")

    def canonical(self, task: Task) -> str | None:
        """The Python solution, where the dictionary holds one."""
        solution = task.row.get("solution_python3")
        return self.extract(task, solution, "usaco") if solution else None

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The first sample's output, printed whatever is asked."""
        samples = task.row.get("samples") or ()
        if not samples:
            return {}
        return {"print the first sample's output": f"print({samples[0]['output']!r})"}


def _prompt(description: str, style: Style) -> Prompt:
    text = _PROMPT.format(description=description)
    if style == "base":
        return Prompt(text=text, answer_start="", max_tokens=4096)
    return Prompt(messages=({"role": "user", "content": text},), max_tokens=4096)


def _no_test(folder: Path, number: int, why: str) -> ConfigError:
    return ConfigError(
        f"test {number} of {folder.name} cannot be read", why=why, fix="unpack the tests again"
    )
