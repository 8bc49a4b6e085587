"""SAFIM: syntax-aware fill in the middle, from the user's files. Source: its repository, 9543286.

Three parts: a block of an algorithm and a control expression, both judged by running the whole
program on its unit tests, and an API call, compared with the one that stood there. The judge of
outputs is ExecEval's (90cd56b). What the original gets wrong is not copied (P15): it passes a fill
that equals the true one without running it, and it takes all white space out before it parses,
then compares arguments alone, so that f("a b") passes for g("ab"). Its own verdict on a call stands
beside ours as `safim_match`.
"""

import ast
import importlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from midfill.errors import ConfigError, ResourceError
from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.evaluate.work import Case, Cases
from midfill.sandbox.verdict import Limits

Part = Literal["block", "control", "api"]

PLACEHOLDER = {
    "python": "# TODO: Your code here",
    "java": "/* TODO: Your code here */",
    "cpp": "/* TODO: Your code here */",
    "csharp": "/* TODO: Your code here */",
}
_HOLE = "{{completion}}"
_FIELDS = ("task_id", "lang", "prompt", "eval_prompt", "ground_truth", "unit_tests")
_GRAMMAR = {
    "python": "tree_sitter_python",
    "java": "tree_sitter_java",
    "cpp": "tree_sitter_cpp",
    "csharp": "tree_sitter_c_sharp",
}
_CALLED = {"block": "block", "control": "control expression", "api": "API function call"}
_CPU_S = {"python": 4.0, "java": 6.0, "cpp": 2.0, "csharp": 6.0}  # ExecEval: 2 s, times a factor
_MEMORY_MB = 2048


def load(path: Path | None = None, *, part: Part | None = None, cut_blocks: bool = True) -> "Safim":
    """The problems of a file or a folder; `part` where their names do not begin with it.

    Raises ConfigError; and ResourceError where there are blocks and a parser to cut answers with is
    missing, unless `cut_blocks` is False: then answers are taken as they are.
    """
    files = files_of(need(path, "safim", "a JSONL or Parquet file of a part of SAFIM"))
    rows = []
    for file in files:
        found = read_rows(file)
        require(found, _FIELDS, file)
        rows += [{**row, "part": part or _part_of(str(row["task_id"]), file)} for row in found]
    if cut_blocks:
        for language in sorted({row["lang"] for row in rows if row["part"] == "block"}):
            _parser(language)
    rules = ("safim", "raw") if cut_blocks else ("raw",)
    return Safim(version=version_of(files), rows=tuple(rows), rules=rules)


@dataclass(frozen=True, kw_only=True)
class Safim:
    """Holes in programs of four languages."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    name: str = "safim"
    rules: tuple[str, ...] = ("safim", "raw")

    def tasks(self, style: Style) -> list[Task]:
        """All problems; the part is the `group`. Base models fill a hole, others are told to."""
        return [
            Task(
                task_id=str(row["task_id"]),
                prompt=_prompt(row, style),
                language=row["lang"],
                row={**row, "group": row["part"]},
            )
            for row in self.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The answer cut where its part ends; the rule `raw` takes it as it is.

        Raises ResourceError where a block must be cut and the parsers are missing.
        """
        part, language = task.row["part"], task.row["lang"]
        if task.prompt.messages is not None:
            completion = code_of_answer(completion, language)
        if rule == "raw":
            return completion
        if part == "api":
            return cut_call(completion)
        if part == "control":
            return cut_control(completion, language)
        return cut_block(completion, task.row["eval_prompt"], language)

    def program(self, task: Task, extracted: str) -> Cases | Score:
        """The program with the hole filled, and its unit tests; or how the calls compare."""
        row = task.row
        tests = row["unit_tests"]
        tests = json.loads(tests) if isinstance(tests, str) else tests
        if not tests:
            return _score_call(extracted, row["ground_truth"], row["lang"])
        return Cases(
            code=row["eval_prompt"].replace(_HOLE, extracted),
            cases=tuple(_case(test) for test in tests),
            compare="tokens",
            language=task.language,
            limits=Limits(
                cpu_s=_CPU_S[row["lang"]],
                wall_s=_CPU_S[row["lang"]] * 5,
                memory_mb=_MEMORY_MB,
            ),
            also={"exact_match": float(extracted == row["ground_truth"])},
        )

    def canonical(self, task: Task) -> str | None:
        """What stood in the hole."""
        return task.row["ground_truth"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """Nothing, `pass` in Python, and the line before the hole."""
        before = task.row["eval_prompt"].partition(_HOLE)[0]
        lines = [line.strip() for line in before.split("\n") if line.strip()]
        fills = {"nothing": "", "the previous line": lines[-1] if lines else ""}
        return {**fills, "pass": "pass"} if task.row["lang"] == "python" else fills


def code_of_answer(answer: str, language: str) -> str:
    """The first fenced code without the placeholder in it, else the first in single backticks.

    Answers equal to the original's worked example are not looked for, as it is not shown.
    """
    fenced, inline, current = [], [], None
    for line in answer.splitlines(keepends=True):
        if line.startswith("```"):
            if current is not None:
                fenced.append("".join(current).rstrip())
            current = [] if current is None else None
        elif current is not None:
            current.append(line)
        elif found := re.search(r"`([^`]*)`", line):
            inline.append(found[1])
    found = fenced or inline
    if not found:
        return answer.rstrip()
    return next((code for code in found if PLACEHOLDER[language] not in code), found[-1])


def cut_call(text: str) -> str:
    """Up to the bracket that closes the first one; all of it where there is none."""
    depth = 0
    for number, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth <= 0:
            return text[: number + 1]
    return text


def cut_control(text: str, language: str) -> str:
    """In Python the first line that is not empty; elsewhere up to the bracket around the hole."""
    if language == "python":
        return next((line for line in text.splitlines() if line.strip()), "")
    depth = 0
    for number, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return text[:number]
    return text


def cut_block(text: str, program: str, language: str) -> str:
    """The most lines that parse and put one block, and nothing else, where the hole was.

    That is so if the tree without the fill (`pass` in Python) stays whole around the fill's own
    nodes. Empty where no number of lines does it. Raises ResourceError without the parsers.
    """
    parse = _parser(language)
    before, after = (part.encode() for part in program.split(_HOLE))
    empty = b"pass" if language == "python" else b""
    bare = _walk(parse(before + empty + after))
    lines = text.splitlines(keepends=True)
    while lines:
        filled = _walk(parse(before + "".join(lines).encode() + after))
        if bare is not None and filled is not None and _only_adds(bare, filled, language):
            break
        lines.pop()
    return "".join(lines)


_Walk = list[tuple[bool, str]]  # entering or leaving a node of this type


def _only_adds(bare: _Walk, filled: _Walk, language: str) -> bool:
    """Whether all of `bare` is found at the start and at the end of `filled`."""
    if len(bare) > len(filled):
        return False
    start = _same(bare, filled)
    end = _same(bare[::-1], filled[::-1])
    own = 4 if language == "python" else 0  # steps of the `pass` that only holds the place
    return len(bare) - start - end == own


def _same(a: _Walk, b: _Walk) -> int:
    """Steps that two walks share from their start."""
    return next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _walk(tree: Any) -> _Walk | None:
    """Every node entered and left, in order; None for a text with errors but lonely semicolons."""
    steps: _Walk = []
    pending: list[tuple[Any, bool]] = [(tree.root_node, True)]
    while pending:
        node, entering = pending.pop()
        steps.append((entering, node.type))
        if entering:
            if node.type == "ERROR" and node.text != b";":
                return None
            pending.append((node, False))
            pending += [(child, True) for child in reversed(node.children)]
    return steps


def _parser(language: str) -> Any:
    """A function from bytes to a syntax tree. Raises ResourceError."""
    grammar = _GRAMMAR[language]
    try:
        sitter = importlib.import_module("tree_sitter")
        module = importlib.import_module(grammar)
    except ImportError as missing:
        raise ResourceError(
            f"blocks of {language} cannot be cut as SAFIM does",
            why=f"the package {missing.name} is not installed",
            fix=f"pip install tree-sitter {grammar.replace('_', '-')}",
        ) from None
    return sitter.Parser(sitter.Language(module.language())).parse


def _score_call(code: str, truth: str, language: str) -> Score:
    ours, theirs = same_call(code, truth, language), safim_match(code, truth, language)
    return Score(
        value=float(ours),
        detail="" if ours else f"{code.strip()[:300]!r} is not {truth.strip()[:300]!r}",
        also={"safim_match": float(theirs)},
    )


def same_call(code: str, truth: str, language: str) -> bool:
    """Whether two calls are one: in Python as syntax trees with keywords in any order.

    In other languages, and where one does not parse, as texts without white space.
    """
    if language == "python":
        a, b = _expression(code.strip()), _expression(truth.strip())
        if a is not None and b is not None:
            return ast.dump(_ordered(a)) == ast.dump(_ordered(b))
    return _without_space(code) == _without_space(truth)


def safim_match(code: str, truth: str, language: str) -> bool:
    """The original's comparison: without white space, and of Python calls the arguments alone."""
    code, truth = _without_space(code), _without_space(truth)
    if language == "python":
        a, b = _expression(code), _expression(truth)
        if isinstance(a, ast.Call) and isinstance(b, ast.Call):
            return _arguments(a) == _arguments(b)
    return code == truth


def _arguments(call: ast.Call) -> tuple[list[str], dict[str | None, str]]:
    named = {word.arg: ast.dump(word.value) for word in call.keywords}
    return [ast.dump(value) for value in call.args], named


def _ordered(tree: ast.expr) -> ast.expr:
    """The tree with the keywords of each call in the order of their names; `**` stays behind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and all(word.arg for word in node.keywords):
            node.keywords.sort(key=lambda word: word.arg or "")
    return tree


def _expression(text: str) -> ast.expr | None:
    if len(text) > 20_000:  # more than a parser should get from somebody unknown
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _case(test: Mapping[str, Any]) -> Case:
    """Line ends are made Unix's, as ExecEval does."""
    outputs = tuple(output.replace("\r", "") for output in test["output"])
    return Case(stdin=test["input"].replace("\r", ""), expected=outputs)


def _prompt(row: Mapping[str, Any], style: Style) -> Prompt:
    mark = PLACEHOLDER[row["lang"]]
    if style == "base":
        prefix, suffix = row["prompt"].split(mark)
        return Prompt(prefix=prefix, suffix=suffix, max_tokens=128)
    asked = _CALLED[row["part"]]
    text = (
        f'{row["prompt"]}\nReplace the "{mark}" in the code above with the appropriate {asked}. '
        f"Provide only the replaced {asked}.\n\n"
    )
    return Prompt(messages=({"role": "user", "content": text},), max_tokens=512)


def _part_of(task_id: str, file: Path) -> Part:
    parts: tuple[Part, ...] = ("block", "control", "api")
    for part in parts:
        if task_id.startswith(part) or file.name.startswith(part):
            return part
    raise ConfigError(
        f"{file} does not say which part of SAFIM it is",
        why=f"neither {task_id!r} nor its own name begins with block, control or api",
        fix="give part=block, part=control or part=api",
    )
