"""DeepSeek-Coder's LeetCode contests, from the user's file. Source: its repository at 2f9fd85.

180 problems of July 2023 to January 2024, each the method of a class `Solution` with 100 calls.
`leetcode-cot` asks for an outline before the code. The published judge runs tests and program in
one process; here the calls go through the sealed judge.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.common import chat, take, with_prelude
from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.task import Program, Prompt, Style, Task
from midfill.sandbox.verdict import Limits

OUTLINE = "\nYou need first write a step-by-step outline and then write the code."
LIMITS = Limits(cpu_s=10, wall_s=30)
MAX_TOKENS = 1024
_FIELDS = ("task_id", "prompt_sft", "test", "meta")
_MADE = re.compile(r"^my_solution = Solution\(\)$", re.MULTILINE)
_CALL = re.compile(r"\bmy_solution\.(\w+)\(\*\*test_input\)")
# Inside, beside the program: one instance for all calls, as the original has it.
_CALLS = """

_midfill_solution = Solution()


def midfill_call(arguments):
    return _midfill_solution.{method}(**arguments)
"""


@dataclass(frozen=True, kw_only=True)
class LeetCode:
    """Contest problems for chat models."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    name: str
    rules: tuple[str, ...] = ("deepseek-leetcode", "midfill", "livecodebench", "open-r1")

    def tasks(self, style: Style) -> list[Task]:
        """All problems; the difficulty is the `group`. The set is for chat models."""
        return [
            Task(
                task_id=row["task_id"],
                prompt=self._prompt(row["prompt_sft"], style),
                row={**row, "group": row["meta"]["difficulty"]},
            )
            for row in self.rows
        ]

    def _prompt(self, text: str, style: Style) -> Prompt:
        text += OUTLINE if self.name == "leetcode-cot" else ""
        if style == "base":
            return Prompt(text=text + "\n", max_tokens=MAX_TOKENS)
        return chat(text, max_tokens=MAX_TOKENS)

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The program that `rule` takes from a completion."""
        return take(rule, task, completion, prompt=task.row["prompt_sft"], entry_point="Solution")

    def program(self, task: Task, extracted: str) -> Program:
        """The class, and the calls of its method."""
        calls = _CALLS.format(method=_method(task.row))
        return Program(
            code=with_prelude(f"from functools import *\n{extracted}{calls}"),
            tests=_CALL.sub("midfill_call(test_input)", _MADE.sub("", task.row["test"])),
            entry_point="midfill_call",
            limits=LIMITS,
        )

    def canonical(self, task: Task) -> str | None:
        """None: the set has no solutions."""
        return None

    def baselines(self, task: Task) -> Mapping[str, str]:
        """A method that returns nothing."""
        method = f"def {_method(task.row)}(self, **arguments):\n        return None"
        return {"return None": f"class Solution:\n    {method}\n"}


def load(name: str, path: Path | None = None) -> LeetCode:
    """The problems of a file, asked with or without an outline. Raises ConfigError."""
    files = files_of(
        need(path, name, "data/20240121-Jul.jsonl of DeepSeek-Coder's LeetCode folder")
    )
    rows = [row for file in files for row in read_rows(file)]
    require(rows, _FIELDS, files[0])
    for row in rows:
        _method(row)
    return LeetCode(version=version_of(files), rows=tuple(rows), name=name)


def _method(row: Mapping[str, Any]) -> str:
    """The method that the tests call. Raises ConfigError where they call none, or several."""
    called = set(_CALL.findall(row["test"]))
    if len(called) != 1 or len(_MADE.findall(row["test"])) != 1:
        raise ConfigError(
            f"the tests of {row['task_id']} are in another form",
            why="they should make `my_solution` and call one of its methods with `**test_input`",
            fix="give the file as its authors publish it",
        )
    return called.pop()
