"""HumanEval+ and MBPP+ (EvalPlus, Liu et al. 2023): the same problems with many more tests.

The rows are the "OriginFmt" files, in which inputs and expected values stand as Python literals.
The comparison around them is our own and follows EvalPlus's evaluator, not the weaker one in the
files: equality; else, for floats, the same type and length and closeness within `atol`, decided
anew for every input. Prompts of MBPP+: EvalPlus. Task 32 of HumanEval+ is compared as EvalPlus's
evaluator does; the file itself swaps two arguments, so that nothing could pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.evaluate import data
from midfill.evaluate.benchmarks import humaneval
from midfill.evaluate.benchmarks.common import (
    assert_examples,
    called,
    doctest_examples,
    take,
    trivial,
)
from midfill.evaluate.task import Program, Prompt, Style, Task
from midfill.sandbox.verdict import Limits

# EvalPlus allows at least 4 s for an input and 60 s for a task. Ours is one budget for a task,
# several times what its reference needs.
LIMITS = Limits(cpu_s=20, wall_s=80, memory_mb=1024)
SLOW = {
    "Mbpp/255": Limits(cpu_s=120, wall_s=300, memory_mb=6000),
    "Mbpp/599": Limits(cpu_s=60, wall_s=180, memory_mb=1024),
}
UNSEALED = ("Mbpp/255",)  # its answer has 130 million elements: too many to cross a wall
FIELDS = {
    "humaneval+": ("task_id", "prompt", "entry_point", "canonical_solution", "test"),
    "mbpp+": ("task_id", "prompt", "code", "test_list", "test"),
}
STOP = ("<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")
ASKED = (
    "Please provide a self-contained Python script that solves the following problem in a markdown "
    "code block:\n```\n{prompt}\n```\n"
)
ANSWERED = (
    "Below is a Python script with a self-contained function that solves the problem and passes "
    "corresponding tests:\n```python\n"
)
COMPARE = '''\
def _floats(value):
    """Whether a value is a float or a sequence of floats, which are compared by closeness."""
    if isinstance(value, (list, tuple)) and value:
        return all(isinstance(each, float) for each in value)
    return isinstance(value, float)


def _close(got, wanted, atol):
    if isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        return len(got) == len(wanted) and all(_close(*two, atol) for two in zip(got, wanted))
    return got == wanted or abs(got - wanted) <= atol + 1e-7 * abs(wanted)


def _same(got, wanted, atol=0, equal=None):
    """Whether an answer is the expected one; `equal` says so in place of `==`."""
    if got == wanted if equal is None else equal:
        return True
    atol = atol or 1e-6 * _floats(wanted)
    return bool(atol) and type(got) is type(wanted) and _close(got, wanted, atol)
'''
POLY = """\
def _poly(coefficients, x):
    return sum(coefficient * x**power for power, coefficient in enumerate(coefficients))
"""
DIGITS = """\
def _digit_distance(one, other):
    width = max(len(str(one)), len(str(other)))
    pairs = zip(str(one).zfill(width), str(other).zfill(width))
    return sum(abs(int(a) - int(b)) for a, b in pairs)
"""
SURFACE = '''\
def _surface(base, height):
    """Of a pyramid, with `height` from the base to the apex."""
    return round(base**2 + 2 * base * ((base / 2) ** 2 + height**2) ** 0.5)
'''
# entry point -> helpers, and what is asserted of `got`, `wanted` and the arguments `given`
_SETS = (
    "similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum "
    "intersection_array find_dissimilar Diff"
).split()
_PRESENT = ("check_str", "text_match_three", "text_starta_endb")
ORACLES = {
    "find_zero": (POLY, "abs(_poly(*given, got)) <= 1e-4"),
    "sum_div": ("", "got == 0 or _same(got, wanted, {atol})"),
    "surface_Area": (SURFACE, "got == _surface(*given) or _same(got, wanted, {atol})"),
    "digit_distance_nums": (
        DIGITS,
        "got == _digit_distance(*given) or _same(got, wanted, {atol})",
    ),
    **{name: ("", "_same(got, wanted, {atol}, set(got) == set(wanted))") for name in _SETS},
    **{
        name: ("", "wanted == (got if isinstance(got, bool) else got is not None)")
        for name in _PRESENT
    },
}


@dataclass(frozen=True, slots=True)
class Plus:
    """HumanEval+ or MBPP+."""

    data: data.Rows
    name: str
    rules: tuple[str, ...]

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All problems in the order of the file, as this kind of model is asked."""
        ask = _ask_humaneval if self.name == "humaneval+" else _ask_mbpp
        return [
            Task(task_id=_task_id(row), prompt=ask(row, style), row=row) for row in self.data.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The program that `rule` takes from a completion."""
        prompt = task.row["prompt"] if self.name == "humaneval+" else ""
        return take(rule, task, completion, prompt=prompt, entry_point=entry_point(task.row))

    def program(self, task: Task, extracted: str) -> Program:
        """The program without added imports, as EvalPlus runs it, against all inputs."""
        return Program(
            code=extracted,
            tests=tests(task.row),
            entry_point=entry_point(task.row),
            limits=SLOW.get(task.task_id, LIMITS),
            trusted_tests=True,
            sealed=task.task_id not in UNSEALED,
        )

    def canonical(self, task: Task) -> str:
        """EvalPlus's reference."""
        row = task.row
        if self.name == "humaneval+":
            return row["prompt"] + row["canonical_solution"]
        return row["code"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """`return None`, and the answers that the prompt shows."""
        name = entry_point(task.row)
        if self.name == "humaneval+":
            return trivial(name, doctest_examples(task.row["prompt"], name))
        return trivial(name, assert_examples(task.row["test_list"][:1], name))


def _task_id(row: Mapping[str, Any]) -> str:
    number = row["task_id"]
    return number if isinstance(number, str) else f"Mbpp/{number}"


def _ask_humaneval(row: Mapping[str, Any], style: Style) -> Prompt:
    return humaneval.ask(row["prompt"], "python", style, humaneval.STOP)


def _ask_mbpp(row: Mapping[str, Any], style: Style) -> Prompt:
    prompt = mbpp_prompt(row)
    if style == "base":
        return Prompt(text=prompt, stop=(*STOP, '\n"""', "\nassert"), max_tokens=768)
    turn = {"role": "user", "content": ASKED.format(prompt=prompt.strip())}
    return Prompt(messages=(turn,), answer_start=ANSWERED, stop=(*STOP, "\n```\n"), max_tokens=768)


def mbpp_prompt(row: Mapping[str, Any]) -> str:
    """The problem with its first assert line as a docstring; links are left out, as in EvalPlus."""
    text = re.sub(r"https?://\S+", "", row["prompt"])
    return f'"""\n{text}\n{row["test_list"][0]}\n"""\n'


def entry_point(row: Mapping[str, Any]) -> str:
    """The function that is tested."""
    if "entry_point" in row:
        return row["entry_point"]
    call = re.search(r"\bassertion\((\w+)\(\*inp\)", row["test"].rstrip().rpartition("\n")[2])
    return call[1] if call else called(row["test_list"]) or ""


def tests(row: Mapping[str, Any]) -> str:
    """A test program: how values are compared, the inputs, and what is expected of each."""
    text, name = row["test"], entry_point(row)
    helpers, check = ORACLES.get(name, ("", "_same(got, wanted, {atol})"))
    tolerance = re.search(r", (\S+)\)\s*$", text.rstrip().rpartition("\n")[2])
    reference = _reference(text)
    wanted = "ref_func(*deepcopy(given))" if reference else "results[number]"
    parts = [
        f'"""Runs behind a program that defines {name}."""',
        "from copy import deepcopy\nfrom math import inf\n",
        COMPARE,
        helpers,
        reference,
        f"inputs = {_literal(text, 'inputs')}",
        "" if reference else f"results = {_literal(text, 'results')}",
        "for number, given in enumerate(inputs):",
        f"    wanted = {wanted}",
        f"    got = {name}(*deepcopy(given))",
        f"    assert {check.format(atol=tolerance[1] if tolerance else 0)}, f'input {{number}}'",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _literal(text: str, name: str) -> str:
    found = re.search(rf"^ *{name} = (.*)$", text, re.MULTILINE)
    return found[1] if found else "[]"


def _reference(text: str) -> str:
    """The reference solution that some files carry in place of expected values."""
    if "def ref_func(" not in text:
        return ""
    after = re.search(r"^def assertion\(.*?\n(?=\S)", text, re.DOTALL | re.MULTILINE)
    rest = text[after.end() if after else 0 :]
    return re.split(r"^(?:def check\(| *inputs = )", rest, maxsplit=1, flags=re.MULTILINE)[0]


def load(name: str, own: Path | None = None) -> Plus:
    """The set called `name`, from the folder of benchmarks or the user's own file."""
    rules = (
        humaneval.RULES
        if name == "humaneval+"
        else ("midfill", "evalplus", "deepseek-mbpp", "livecodebench", "open-r1", "deepseek-base")
    )
    return Plus(data.load(name, fields=FIELDS[name], own=own), name, rules)
