"""HumanEval in other languages (MultiPL-E's form), as DeepSeek-Coder puts and judges it.

A test program is prelude, answer and tests in one text; in languages with braces the tests begin
with the brace that closes the answer's function, so an answer that closed it itself is opened
again. Source: DeepSeek-Coder, Evaluation/HumanEval; MultiPL-E (Cassano et al. 2022).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.evaluate import data
from midfill.evaluate.benchmarks import humaneval
from midfill.evaluate.benchmarks.common import doctest_examples, take, trivial, with_prelude
from midfill.evaluate.task import Program, Style, Task
from midfill.sandbox.verdict import Limits

FIELDS = ("task_id", "prompt", "test")
LANGUAGES = {  # ending of the file -> the language's name
    "cpp": "cpp",
    "cs": "csharp",
    "d": "d",
    "go": "go",
    "java": "java",
    "jl": "julia",
    "js": "javascript",
    "lua": "lua",
    "php": "php",
    "pl": "perl",
    "python": "python",
    "r": "r",
    "rb": "ruby",
    "rkt": "racket",
    "rs": "rust",
    "scala": "scala",
    "sh": "bash",
    "swift": "swift",
    "ts": "typescript",
}
STOP = {
    "typescript": ("\nexport", "\nimport", "\nexport default", "\nimport default", "\nconsole.log")
}
PRELUDE = {
    "cpp": [
        f"#include<{name}>"
        for name in "stdlib.h algorithm math.h stdio.h vector string climits cstring iostream "
        "cassert".split()
    ],
    "csharp": [
        f"using System.{name};"
        for name in "Numerics Diagnostics Collections.Generic Linq Text "
        "Security.Cryptography".split()
    ],
}
# Where the tests name the function; else it is the last name before a bracket in the prompt.
_NAMED = re.compile(
    r"candidate(?:\s*(?::=|=|<-|\(\.\.\.\$args\) \{\s*return)\s*|\s)(?:\\&|&|method\(:)?(\w+)"
)
# compiling counts too; no limit on address space, which managed languages reserve generously
LIMITS = Limits(cpu_s=20, wall_s=60, memory_mb=2048, disk_mb=256)
RULES = ("midfill", "deepseek-instruct", "livecodebench", "deepseek-base", "human-eval")


@dataclass(frozen=True, slots=True)
class Multilingual:
    """HumanEval's functions in one language."""

    data: data.Rows
    name: str
    rules: tuple[str, ...] = RULES

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    @property
    def language(self) -> str:
        """The language's name: csharp, not cs."""
        return LANGUAGES[self.name.removeprefix("humaneval-")]

    @property
    def known_failures(self) -> Mapping[str, str]:
        """Tasks that no answer can pass, with the reason: the attainable maximum is below 100 %."""
        if self.language != "php":
            return {}
        return {"HumanEval_23_strlen": "it asks for strlen, which PHP has: Cannot redeclare"}

    def tasks(self, style: Style) -> list[Task]:
        """All problems in the order of the file, as this kind of model is asked."""
        return [
            Task(
                task_id=row["task_id"],
                prompt=humaneval.ask(row["prompt"], self.language, style, self._stop(row)),
                language=self.language,
                row=row,
            )
            for row in self.data.rows
        ]

    def _stop(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        if self.language == "python":
            return humaneval.STOP
        return (*row["stop_tokens"], *STOP.get(self.language, ()))

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The program that `rule` takes from a completion."""
        name = entry_point(task.row, self.language)
        return take(rule, task, completion, prompt=task.row["prompt"], entry_point=name)

    def program(self, task: Task, extracted: str) -> Program:
        """The program with its prelude, against the tests of this language."""
        row = task.row
        name = entry_point(row, self.language)
        if self.language == "python":
            tests = humaneval.tests({**row, "entry_point": name, "test": _uncalled(row["test"])})
            limits = Limits(cpu_s=10, wall_s=30)
            return Program(
                code=with_prelude(extracted), tests=tests, entry_point=name, limits=limits
            )
        code = reopened(extracted, row["prompt"], row["test"])
        return Program(
            code=preluded(code, self.language),
            tests=row["test"],
            entry_point=name,
            language=self.language,
            limits=LIMITS,
        )

    def canonical(self, task: Task) -> str | None:
        """The solution of the data set, which only Python has."""
        solution = task.row.get("canonical_solution")
        return None if solution is None else task.row["prompt"] + solution

    def baselines(self, task: Task) -> Mapping[str, str]:
        """In Python as for HumanEval; elsewhere the function with nothing in it."""
        row = task.row
        if self.language == "python":
            name = entry_point(row, "python")
            return trivial(name, doctest_examples(row["prompt"], name))
        return {"nothing": row["prompt"] + ("" if _opens_below(row["test"]) else "}\n")}


def entry_point(row: Mapping[str, Any], language: str) -> str:
    """The function that is asked for."""
    if language == "python":
        return re.findall(r"^check\((\w+)\)", row["test"], re.MULTILINE)[-1]
    named = _NAMED.search(row["test"])
    if named and named[1] not in ("args", "return"):
        return named[1]
    signature = row["prompt"].rstrip().rpartition("\n")[2]
    names = re.findall(r"([A-Za-z_]\w*)\s*\(", signature)
    return names[0] if names else ""


def _uncalled(test: str) -> str:
    return re.sub(r"^check\(\w+\)\s*\Z", "", test, flags=re.MULTILINE)


def preluded(code: str, language: str) -> str:
    """A program with the lines that DeepSeek-Coder's judge puts before it, where they are missing."""
    if language == "php":
        return code if code.lstrip().startswith("<?php") else f"<?php\n{code}"
    missing = [line for line in PRELUDE.get(language, ()) if line not in code]
    return "\n".join([*missing, code])


def _opens_below(test: str) -> bool:
    return test.lstrip().startswith("}")


def reopened(code: str, prompt: str, test: str) -> str:
    """The answer without the closing braces that the tests bring along."""
    if not _opens_below(test):
        return code
    surplus = depth(prompt) - depth(code)
    code = code.rstrip()
    while surplus > 0 and code.endswith("}"):
        code, surplus = code[:-1].rstrip(), surplus - 1
    return code + "\n"


_TOKENS = re.compile(
    r"//[^\n]*|/\*.*?\*/|(?m:^[ \t]*#[^\n]*)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'|[{}]",
    re.DOTALL,
)


def depth(code: str) -> int:
    """How many braces are open at the end, those in comments and strings aside."""
    tokens = _TOKENS.findall(code)
    return tokens.count("{") - tokens.count("}")


def load(name: str, own: Path | None = None) -> Multilingual:
    """The language in `name`, from the folder of benchmarks or the user's own file."""
    return Multilingual(data.load(name, fields=FIELDS, own=own), name)
