"""MBPP (Austin et al. 2021), problems 11 to 510, as DeepSeek-Coder puts and judges them.

Prompts: DeepSeek-Coder, Evaluation/MBPP: problems 2, 3 and 4 are the examples, for base models in
MBPP's own form, for chat models in one user turn. The longest prompt with all three examples has
fewer than 4096 - 500 tokens in any code model's vocabulary, so none is ever left out.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.evaluate import data
from midfill.evaluate.benchmarks.common import (
    assert_examples,
    called,
    chat,
    parsed,
    take,
    trivial,
)
from midfill.evaluate.task import Program, Prompt, Style, Task
from midfill.sandbox.verdict import Limits

FIELDS = ("task_id", "text", "code", "test_list", "test_setup_code")
SHOTS = (2, 3, 4)
TESTED = range(11, 511)
RULES = ("midfill", "deepseek-mbpp", "evalplus", "livecodebench", "open-r1")
END = "[DONE]"
BASE = (
    "You are an expert Python programmer, and here is your task: {text} Your code should pass "
    "these tests:\n\n{tests}\n[BEGIN]"
)
CHAT = (
    "Please refer the given examples and generate a python function for my problem.\n"
    "Examples are listed as follows:\n{shots}\n\nHere is my problem:\n{problem}\n"
)


def _code(row: Mapping[str, Any]) -> str:
    return row["code"].replace("\r", "").replace("\t", "    ")


def base_prompt(row: Mapping[str, Any], shots: list[Mapping[str, Any]]) -> str:
    """The examples with their solutions, then the problem up to [BEGIN]."""
    solved = [f"{_asked(shot)}\n{_code(shot)}\n[DONE]\n" for shot in shots]
    return "".join(solved) + _asked(row)


def _asked(row: Mapping[str, Any]) -> str:
    return BASE.format(text=row["text"], tests="\n".join(row["test_list"]))


def chat_prompt(row: Mapping[str, Any], shots: list[Mapping[str, Any]]) -> str:
    """The examples with their solutions and the problem, as one user turn."""
    solved = [
        f"- Example {n}:\n{_problem(shot)}\n>>> Code:\n```python\n{_code(shot)}\n```"
        for n, shot in enumerate(shots, 1)
    ]
    return CHAT.format(shots="\n\n".join(solved), problem=_problem(row)).removesuffix("\n")


def _problem(row: Mapping[str, Any]) -> str:
    tests = "\n".join(row["test_list"])
    return f">>> Problem:\n{row['text'].strip()}\n>>> Test Cases:\n{tests}\n"


@dataclass(frozen=True, slots=True)
class Mbpp:
    """500 small problems, each with three assert lines that the model sees."""

    data: data.Rows
    name: str = "mbpp"
    rules: tuple[str, ...] = RULES

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All problems in the order of the file, as this kind of model is asked."""
        rows = {row["task_id"]: row for row in self.data.rows}
        shots = [rows[number] for number in SHOTS if number in rows]
        return [
            Task(task_id=f"MBPP/{row['task_id']}", prompt=_ask(row, shots, style), row=row)
            for row in self.data.rows
            if row["task_id"] in TESTED
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The program that `rule` takes from a completion."""
        if task.prompt.messages is None:
            completion = completion.split(END)[0].strip()
        return take(rule, task, completion, prompt="", entry_point=entry_point(task.row))

    def program(self, task: Task, extracted: str) -> Program:
        """The program, without added imports, then the set-up, against the assert lines."""
        name, row = entry_point(task.row), task.row
        code, tests = extracted, "\n".join(row["test_list"]) + "\n"
        if setup := row["test_setup_code"].replace("\r", ""):
            calls, tests = _calls_inside(row["test_list"], name)
            code = f"{code}\n{setup}\n{calls}"
        return Program(
            code=code,
            tests=tests.replace("\r", ""),
            entry_point=name,
            limits=Limits(cpu_s=10, wall_s=30),
            trusted_tests=True,
        )

    def canonical(self, task: Task) -> str:
        """The solution of the data set."""
        return task.row["code"].replace("\r", "")

    def baselines(self, task: Task) -> Mapping[str, str]:
        """`return None`, and the answers of the assert lines, which the prompt shows."""
        name = entry_point(task.row)
        return trivial(name, assert_examples(task.row["test_list"], name))


def _ask(row: Mapping[str, Any], shots: list[Mapping[str, Any]], style: Style) -> Prompt:
    if style == "base":
        return Prompt(text=base_prompt(row, shots), stop=(END,), max_tokens=500)
    return chat(chat_prompt(row, shots), max_tokens=512)


def entry_point(row: Mapping[str, Any]) -> str:
    """The function that the assert lines call."""
    tree = parsed(_code(row))
    defined = (
        {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} if tree else ()
    )
    return called(row["test_list"], defined) or ""


def _calls_inside(assertions: list[str], name: str) -> tuple[str, str]:
    """The asserted calls as functions that stand behind the solution, and asserts that use them.

    Set-up builds its arguments from a class of the solution, so it runs behind the solution, in
    the sandbox; the tests, which know the answers, stay outside.
    """
    inside, outside = [], []
    for line in assertions:
        tree = ast.parse(line.replace("\r", "").strip())
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == name
        ]
        for call in calls:
            test = f"test_call_{len(inside) + 1}"
            inside.append(f"def {test}():\n    return {ast.unparse(call)}\n")
            call.func, call.args, call.keywords = ast.Name(test), [], []
        outside.append(ast.unparse(tree))
    return "\n".join(inside), "\n".join(outside) + "\n"


def load(own: Path | None = None) -> Mbpp:
    """MBPP, from the folder of benchmarks or the user's own file."""
    return Mbpp(data.load("mbpp", fields=FIELDS, own=own))
