"""LiveCodeBench's code generation set, from the user's file. Source: its repository at 28fef95.

Two kinds of problem: programs that read standard input, whose output is compared line by line,
and methods of a class `Solution`, which go through the sealed judge. Where midfill differs from
the original: 6 s are of processor time, not of the clock; standard input and output are real ones.
A number k of pass@k above the answers of a task is refused by the harness, never left out (P14).
"""

import base64
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.extract import extract
from midfill.evaluate.task import Program, Prompt, Score, Style, Task
from midfill.evaluate.work import Case, Cases
from midfill.sandbox.verdict import Limits

Template = Literal["generic", "deepseek"]

_FIELDS = ("question_id", "question_content", "starter_code", "difficulty", "contest_date")
_TESTS = ("public_test_cases", "private_test_cases", "metadata")
_CASE_S = 6  # seconds of one test
_MEMORY_MB = 4096

SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and "
    "will generate a correct Python program that matches the specification and passes all tests."
)
DEEPSEEK_SYSTEM = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by "
    "DeepSeek Company, and you answer questions related to computer science."
)
_DEEPSEEK_TASK = (
    "You will be given a question (problem specification) and will generate a correct Python "
    "program that matches the specification and passes all tests. You will NOT return anything "
    "except for the program."
)
_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your "
    "code within delimiters."
)
_WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly "
    "test on the sample inputs). Enclose your code within delimiters as follows. Ensure that when "
    "the python program runs, it reads the inputs, runs the algorithm and writes output to STDOUT."
)
_STARS = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools "
    "operator io sys json builtins typing"
).split()
_MODULES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools "
    "operator io sys json"
).split()
PRELUDE = "".join(
    [f"from {name} import *\n" for name in _STARS]
    + [f"import {name}\n" for name in _MODULES]
    + ["sys.setrecursionlimit(50000)\n"]
)

# The original's worked example is not copied: these stand where it gives one of its own.
_EXAMPLES = {
    False: {
        "question": "Read two integers from one line and print their sum.",
        "sample_code": "",
        "answer": "a, b = map(int, input().split())\nprint(a + b)",
    },
    True: {
        "question": "Return the sum of the two integers a and b.",
        "sample_code": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        ",
        "answer": (
            "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b"
        ),
    },
}


def load(
    path: Path | None = None,
    *,
    template: Template = "generic",
    start_date: str | None = None,
    end_date: str | None = None,
    examples: Path | None = None,
) -> "LiveCodeBench":
    """The problems of contests between two dates, both included. Raises ConfigError.

    `template` is how chat models are asked. Base models see one worked example: midfill's own, or
    the original's from `examples`, the folder with its `func.json` and `stdin.json`.
    """
    files = files_of(need(path, "livecodebench", "a JSONL file of LiveCodeBench's problems"))
    rows = []
    for file in files:
        found = read_rows(file)
        require(found, _FIELDS + _TESTS, file)
        rows += found
    kept = [row for row in rows if _between(str(row["contest_date"]), start_date, end_date)]
    if not kept:
        raise ConfigError(
            "no problem is left",
            why=f"none of {len(rows)} is from {start_date or 'any day'} to {end_date or 'any'}",
            fix="give other dates",
        )
    shots = _EXAMPLES if examples is None else _read_examples(examples)
    return LiveCodeBench(
        version=version_of(files), rows=tuple(kept), template=template, examples=shots
    )


@dataclass(frozen=True, kw_only=True)
class LiveCodeBench:
    """Contest problems, asked and judged as LiveCodeBench does."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    template: Template
    examples: Mapping[bool, Mapping[str, str]]
    name: str = "livecodebench"
    rules: tuple[str, ...] = ("livecodebench", "livecodebench-base")

    def tasks(self, style: Style) -> list[Task]:
        """All problems; `row` has the tests decoded, and the difficulty as `group`."""
        return [self._task(row, style) for row in self.rows]

    def _task(self, row: Mapping[str, Any], style: Style) -> Task:
        return Task(
            task_id=str(row["question_id"]),
            prompt=self._prompt(row, style),
            row={**row, "group": row["difficulty"], "base": style == "base"},
        )

    def _prompt(self, row: Mapping[str, Any], style: Style) -> Prompt:
        if style == "base":
            shot = self.examples[bool(row["starter_code"])]
            question = {"question": row["question_content"], "sample_code": row["starter_code"]}
            text = _shot(shot) + _shot({**question, "answer": ""})
            return Prompt(text=text, stop=("###",), max_tokens=2000)
        if self.template == "deepseek" or style == "instruct-v1":
            text = f"{DEEPSEEK_SYSTEM}\n\n{_deepseek(row)}"
            return Prompt(text=text, stop=("###",), max_tokens=2000)
        messages = (
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": _generic(row)},
        )
        return Prompt(messages=messages, max_tokens=2000)

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """Lines between the last two that hold a fence; of base models, the stripped answer."""
        base = rule == "livecodebench-base" or bool(task.row.get("base"))
        return extract("livecodebench", completion, base=base)

    def program(self, task: Task, extracted: str) -> Program | Cases | Score:
        """The program with all public and private tests."""
        if not extracted.strip():
            return Score(value=0.0, detail="there is no code")
        tests = tests_of(task.row)
        name = json.loads(task.row["metadata"] or "{}").get("func_name")
        if name is not None:
            return _call_program(extracted, str(name), tests)
        return Cases(
            code=extracted,
            cases=tuple(Case(stdin=given, expected=(wanted,)) for given, wanted in tests),
            compare="lines",
            limits=Limits(cpu_s=_CASE_S, wall_s=_CASE_S * 5, memory_mb=_MEMORY_MB),
            total_s=_total_s(tests),
            in_function=True,
            prelude=PRELUDE,
            on_exit="ok",
        )

    def canonical(self, task: Task) -> str | None:
        """None: the set has no solutions."""
        return None

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The sample output of the problem, printed whatever is asked."""
        samples = json.loads(task.row["public_test_cases"])
        if json.loads(task.row["metadata"] or "{}").get("func_name") is not None or not samples:
            return {}
        return {"print the first sample's output": f"print({samples[0]['output']!r})"}


def tests_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Input and output of all public, then all private tests. Raises ConfigError."""
    tests = json.loads(row["public_test_cases"]) + _private(row)
    return [(test["input"], test["output"]) for test in tests]


def _private(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The private tests, which are JSON, or JSON in a pickled text, compressed, in base 64."""
    text = row["private_test_cases"]
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return json.loads(_unpickle_text(zlib.decompress(base64.b64decode(text))))
    except (ValueError, EOFError, zlib.error, pickle.UnpicklingError) as problem:
        raise ConfigError(
            f"the private tests of {row['question_id']} cannot be read",
            why=str(problem),
            fix="fetch the file again",
        ) from problem


class _TextOnly(pickle.Unpickler):
    """Reads texts, and refuses whatever a pickle could run."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def _unpickle_text(data: bytes) -> str:
    value = _TextOnly(io.BytesIO(data)).load()
    if not isinstance(value, str):
        raise ValueError(f"it holds a {type(value).__name__}, not a text")
    return value


# Inside, beside the program: one instance for all calls, and 6 s for each, as the original has it.
_CALLS = """

def _midfill_calls(Solution_or_none, names):
    import signal
    target = names["Solution"]() if Solution_or_none else None
    method = getattr(target, {name!r}) if Solution_or_none else names[{name!r}]

    def late(number, frame):
        raise TimeoutError("more than {seconds} s of processor time")

    def midfill_call(arguments):
        previous = signal.signal(signal.SIGPROF, late)
        signal.setitimer(signal.ITIMER_PROF, {seconds})
        try:
            value = method(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
        return list(value) if isinstance(value, tuple) else value

    return midfill_call


midfill_call = _midfill_calls({in_class!r}, globals())
"""

# On the trusted side: what is expected never reaches the program.
_CALL_TESTS = """\
import json


def test_calls():
    for number, (given, wanted) in enumerate(json.loads({tests!r}), 1):
        value = midfill_call(given)
        assert value == wanted, f"test {{number}}: {{str(value)[:300]}} is not {{str(wanted)[:300]}}"
"""


def _call_program(code: str, name: str, tests: list[tuple[str, str]]) -> Program:
    """Arguments are JSON, one a line; a tuple that comes back counts as a list."""
    pairs = [
        ([json.loads(line) for line in given.split("\n")], json.loads(wanted))
        for given, wanted in tests
    ]
    calls = _CALLS.format(name=name, seconds=_CASE_S, in_class="class Solution" in code)
    total_s = _total_s(tests)
    return Program(
        code=f"{PRELUDE}\n\n{code}{calls}",
        tests=_CALL_TESTS.format(tests=json.dumps(pairs)),
        limits=Limits(cpu_s=total_s, wall_s=total_s * 3, memory_mb=_MEMORY_MB),
    )


def _total_s(tests: list[tuple[str, str]]) -> float:
    return (_CASE_S + 1) * len(tests) + 5


def _between(date: str, start: str | None, end: str | None) -> bool:
    """ISO dates, with or without a time, in the order of their texts; a bare day is its midnight."""
    return (start is None or start <= date) and (
        end is None or date <= (end if "T" in end else f"{end}T00:00:00")
    )


def _format(row: Mapping[str, Any]) -> tuple[str, str]:
    """The words about the form of the answer, and the code that stands in the fence."""
    if row["starter_code"]:
        return _WITH_STARTER, row["starter_code"]
    return _WITHOUT_STARTER, "# YOUR CODE HERE"


def _generic(row: Mapping[str, Any]) -> str:
    words, code = _format(row)
    return (
        f"### Question:\n{row['question_content']}\n\n### Format: {words}\n"
        f"```python\n{code}\n```\n\n### Answer: (use the provided format with backticks)\n\n"
    )


def _deepseek(row: Mapping[str, Any]) -> str:
    words, code = _format(row)
    return (
        f"### Instruction: {_DEEPSEEK_TASK}\n\nQuestion:\n{row['question_content']}\n\n"
        f"### Instruction: {words}\n```python\n{code}\n```\n\n### Response:\n\n"
    )


def _shot(example: Mapping[str, str]) -> str:
    starter = example.get("sample_code")
    text = f"### Question\n{example['question']}\n\n"
    text += f"### Starter Code\n{starter}\n\n" if starter else ""
    text += f"### Answer\n\n{example['answer']}"
    return f"{text}\n\n" if example["answer"] else text


def _read_examples(folder: Path) -> Mapping[bool, Mapping[str, str]]:
    return {
        True: read_rows(folder / "func.json")[0],
        False: read_rows(folder / "stdin.json")[0],
    }
