"""DS-1000: data science questions in seven libraries, from the user's file. Source: its repository.

The simplified form (`ds1000.jsonl`): prompt, reference_code, code_context, metadata. DeepSeek-Coder's
protocol is completion, greedy, 2048 tokens. The program that is run is the original's: the code
context, the answer as a text, `test_execution`, and `test_string` where the context defines it.
That program runs the answer in its own process, so nothing of the verdict is sealed.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.evaluate.work import ENDED, identity_of, unsealed
from midfill.sandbox.verdict import Limits, Outcome, Status

if TYPE_CHECKING:
    from midfill.sandbox import Sandbox

_FIELDS = ("prompt", "reference_code", "code_context", "metadata")
_INSTRUCTION = (
    "Write a short code following the given format and indentation. Place the executable code "
    "between <code> and </code> tags, without any other non-executable things.\n"
)
_LIMITS = Limits(cpu_s=120.0, wall_s=240.0, memory_mb=4096, disk_mb=256)
_MODULES = {
    "numpy": "numpy",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "scipy": "scipy",
    "sklearn": "sklearn",
    "pytorch": "torch",
    "tensorflow": "tensorflow",
}


def load(path: Path | None = None) -> "DS1000":
    """The problems of `ds1000.jsonl`, compressed or not. Raises ConfigError."""
    files = files_of(need(path, "ds1000", "ds1000.jsonl.gz"))
    rows = [row for file in files for row in read_rows(file)]
    require(rows, _FIELDS, files[0])
    return DS1000(version=version_of(files), rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class DS1000:
    """Questions with a context to complete."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    name: str = "ds1000"
    rules: tuple[str, ...] = ("ds1000", "raw")

    def tasks(self, style: Style) -> list[Task]:
        """All problems; the library is the `group`."""
        return [
            Task(
                task_id=str(row["metadata"]["problem_id"]),
                prompt=_prompt(row["prompt"], style),
                row={**row, "group": row["metadata"]["library"]},
            )
            for row in self.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The answer up to a closing tag, a fence or the end mark; `raw` takes it as it is."""
        return completion if rule == "raw" else answer_of(completion)

    def program(self, task: Task, extracted: str) -> "DataScience":
        """The original's test program for the answer."""
        return DataScience(
            code=extracted,
            context=task.row["code_context"],
            module=_MODULES.get(str(task.row["metadata"]["library"]).lower()),
        )

    def canonical(self, task: Task) -> str | None:
        """The reference answer."""
        return task.row["reference_code"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """An answer that computes nothing."""
        return {"result = None": "result = None"}


def answer_of(text: str) -> str:
    """What the original's evaluation takes from an answer."""
    text = text.split("</code>")[0].replace("```python", "")
    return text.split("```")[0].split("\nEND SOLUTION")[0].replace("<code>", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataScience:
    """An answer in its context, to be run in one process."""

    code: str
    context: str
    module: str | None  # which must be there, or nothing is known about the answer
    language: str = "python"
    limits: Limits = _LIMITS

    def identity(self) -> str:
        """Everything that decides the score."""
        return identity_of("ds1000", self.code, self.context, self.module, self.limits)

    def judge(self, sandbox: "Sandbox") -> Score:
        """1 where the program runs to its end."""
        word = token_hex(16)
        files = {"program.py": self.text(word).encode()}
        with sandbox.box(files=files, limits=self.limits) as box:
            if self.module:
                found = box.run((sys.executable, "-c", f"import {self.module}"), limits=self.limits)
                if not found.ok:
                    why = f"the sandbox's Python cannot import {self.module}"
                    return Score(value=None, detail=why)
            outcome = box.run((sys.executable, "program.py"), limits=self.limits)
        status, detail = _look(outcome, word)
        output = outcome.stdout[:4096].decode("utf-8", "replace")
        return unsealed(outcome, sandbox, status, detail, output=output)

    def text(self, word: str) -> str:
        """The original's program; at its end it reports `word`, which an early exit does not."""
        strings = "test_string(code)\n" if "test_string(" in self.context else "\n"
        program = f"{self.context}\ncode = {self.code!r}\ntest_execution(code)\n{strings}"
        return (
            f"import os\nexec(compile({json.dumps(program)}, 'program', 'exec'), {{}})\n"
            f"os.write(3, b'{word}')\n"
        )


def _look(outcome: Outcome, word: str) -> tuple[Status, str]:
    if outcome.ended in ENDED:
        return ENDED[outcome.ended], outcome.detail
    if outcome.ok and outcome.report == word.encode():
        return "pass", ""
    said = outcome.stderr.decode("utf-8", "replace").strip()[-2000:]
    if "AssertionError" in said:
        return "wrong", said
    return "error", said or "it ended before its tests did"


def _prompt(text: str, style: Style) -> Prompt:
    if style == "base":
        return Prompt(text=text, stop=("</code>", "# SOLUTION END"), max_tokens=2048)
    message = {"role": "user", "content": _INSTRUCTION + text}
    return Prompt(messages=(message,), stop=("</code>", "# SOLUTION END"), max_tokens=2048)
