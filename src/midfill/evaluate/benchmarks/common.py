"""What several benchmarks share: Python's prelude, examples found in a prompt, trivial answers."""

import ast
import re
import warnings
from collections.abc import Iterable, Mapping

from midfill.evaluate.extract import extract
from midfill.evaluate.task import Prompt, Task

MODULES = "math re sys copy datetime itertools collections heapq functools hashlib string".split()
FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)


def with_prelude(code: str) -> str:
    """A program with the imports that DeepSeek-Coder's judge puts in front of every answer.

    Modules that the program never names are left out, so that it needs no numpy where it uses
    none. Source: DeepSeek-Coder, Evaluation/HumanEval.
    """
    future = "".join(FUTURE.findall(code))
    lines = [f"import {name}" for name in MODULES if re.search(rf"\b{name}\b", code)]
    if re.search(r"\b(np|numpy)\b", code):
        lines += ["import numpy", "import numpy as np"]
    lines += ["from typing import *", "from collections import *"]
    return future + "\n".join(lines) + "\n" + FUTURE.sub("", code)


def chat(text: str, *, max_tokens: int, stop: tuple[str, ...] = ()) -> Prompt:
    """A conversation of one user turn."""
    return Prompt(messages=({"role": "user", "content": text},), max_tokens=max_tokens, stop=stop)


def take(rule: str, task: Task, completion: str, *, prompt: str, entry_point: str | None) -> str:
    """What `rule` takes from a completion, knowing how the task was put."""
    return extract(
        rule,
        completion,
        prompt=prompt,
        entry_point=entry_point,
        language=task.language,
        stop=task.prompt.stop,
        base=task.prompt.messages is None,
    )


def parsed(text: str, mode: str = "exec") -> ast.AST | None:
    """The syntax tree of a text, or None where it is no Python, or more than a parser should get."""
    if len(text) > 200_000:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def called(assertions: Iterable[str], known: Iterable[str] = ()) -> str | None:
    """The function that assert lines test: the one named in most of them, the innermost on a tie.

    Builtins that wrap a result (`set(f(x))`) are not it; names in `known` are preferred.
    """
    import builtins

    counts: dict[str, int] = {}
    for line in assertions:
        tree = parsed(line)
        if tree is None:
            continue
        names = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    known = set(known)
    own = {name: n for name, n in counts.items() if name in known or not hasattr(builtins, name)}
    return max(own or counts, key=lambda name: counts[name], default=None)


def doctest_examples(prompt: str, entry_point: str) -> list[tuple[str, str]]:
    """(call, answer) of the examples that a docstring shows, as they are written."""
    found = re.findall(
        rf"^\s*>>>\s*({re.escape(entry_point)}\(.*\))\s*\n\s*(\S.*?)\s*$", prompt, re.MULTILINE
    )
    return [(call, answer) for call, answer in found if parsed(call, "eval")]


def assert_examples(assertions: Iterable[str], entry_point: str) -> list[tuple[str, str]]:
    """(call, answer) of lines of the form `assert f(...) == answer`."""
    examples = []
    for line in assertions:
        match parsed(line.strip()):
            case ast.Module(
                body=[ast.Assert(test=ast.Compare(left=call, ops=[ast.Eq()], comparators=[answer]))]
            ) if ast.unparse(call).startswith(f"{entry_point}("):
                examples.append((ast.unparse(call), ast.unparse(answer)))
    return examples


def echo(examples: Iterable[tuple[str, str]], entry_point: str) -> str:
    """A program that knows the given examples and nothing else."""
    lines = ["_known = {}", "def _know(*given, **named):", "    return repr((given, named))"]
    for call, answer in examples:
        if parsed(answer, "eval"):
            lines.append(f"_known[_know{call.removeprefix(entry_point)}] = {answer}")
    lines.append(f"def {entry_point}(*given, **named):")
    lines.append("    return _known.get(_know(*given, **named))")
    return "\n".join(lines) + "\n"


def trivial(entry_point: str, examples: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Programs that solve nothing: what a score has to beat."""
    return {
        "return None": f"def {entry_point}(*given, **named):\n    return None\n",
        "echo": echo(examples, entry_point),
    }
