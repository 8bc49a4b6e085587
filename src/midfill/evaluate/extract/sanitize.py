"""EvalPlus's extraction (E6): the longest run of lines that parses, and of it what is reached.

The original reads the run with tree-sitter; here Python's own parser does, and what tree-sitter
makes of it is reproduced: where a definition ends (comments below count by their indentation),
which name an assignment has (the first bare identifier among its direct parts, be it on the right),
and which statements it does not know as definitions (decorated ones, `from __future__`).

Three things are not reproduced. A reply without two consecutive lines that parse gives its first
line, in which tree-sitter may still see an import or an assignment. The original's walk through a
function can stop before it meets the `return`, after many statements like `with x: pass` that have
fewer tokens than levels. A carriage return without a line feed ends a line here, not there.
"""

import ast
import re
from collections.abc import Iterator, Mapping

from midfill.evaluate.extract.python import ANSI, longest_run, parse
from midfill.evaluate.extract.reply import Reply

_TAB = 8  # what tree-sitter's Python scanner counts for a tab

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Assignment = ast.Assign | ast.AnnAssign


def evalplus(reply: Reply) -> str:
    """E6, EvalPlus: imports, and definitions that the entry point reaches, in the longest run.

    Uses: entry_point (all definitions where there is none), base and prompt (a base model's
    completion is read below its prompt). Definitions are classes, functions with a `return`, and
    assignments; without any import or definition it is the run itself.
    Breaks: generators and procedures without `return` vanish, and so do decorated functions; code
    in two fences is halved; of two functions of one name the first is taken; `if` and `try` at the
    top level are dropped with the imports in them.
    """
    text = reply.prompt + reply.completion if reply.base else reply.completion
    run = longest_run(ANSI.sub("", text))
    tree = parse(run)
    if isinstance(tree, SyntaxError):  # one line: tree-sitter does not mind its indentation
        line = run.strip()
        tree = parse(line)
        if isinstance(tree, SyntaxError):
            return run
        return _Source(line).reached(tree, reply.entry_point).strip() or run
    return _Source(run).reached(tree, reply.entry_point).strip() or run


class _Source:
    """The text of a program, cut at the places that syntax trees name."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.lines = [0, *(found.end() for found in re.finditer(rb"\r\n|\r|\n", self.data))]

    def reached(self, tree: ast.Module, entry_point: str | None) -> str:
        """Imports first, then the definitions that `entry_point` needs, in their order."""
        imports = [
            self._simple(node)
            for node in tree.body
            if isinstance(node, ast.Import)
            or (isinstance(node, ast.ImportFrom) and node.module != "__future__")
        ]
        nodes = dict(self._definitions(tree))
        wanted = set(nodes)
        if entry_point:
            wanted &= _reachable(entry_point, nodes)
        parts = [self._segment(node) for name, node in nodes.items() if name in wanted]
        return b"\n".join(imports + parts).decode()

    def _definitions(self, tree: ast.Module) -> Iterator[tuple[str | None, ast.stmt]]:
        """Every definition with its name, the first of each name."""
        seen: set[str | None] = set()
        for node in tree.body:
            if isinstance(node, Definition):
                name = node.name
                known = not node.decorator_list and (
                    isinstance(node, ast.ClassDef) or _returns(node)
                )
            else:
                name = self._assigned(node)
                known = isinstance(node, Assignment)
            if known and name not in seen:
                seen.add(name)
                yield name, node

    def _assigned(self, node: ast.stmt) -> str | None:
        """The first identifier among the direct parts: target, then value."""
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value if len(node.targets) == 1 else None
        elif isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        else:
            return None
        if isinstance(target, ast.Name) and _start(target) == _start(node):  # else in brackets
            return target.id
        if isinstance(value, ast.Name) and _end(value) == _end(node):
            return value.id
        return None

    def _segment(self, node: ast.stmt) -> bytes:
        return self._block(node) if isinstance(node, Definition) else self._simple(node)

    def _simple(self, node: ast.stmt) -> bytes:
        return self.data[self._at(_start(node)) : self._at(_end(node))]

    def _at(self, place: tuple[int, int]) -> int:
        return self.lines[place[0] - 1] + place[1]

    def _block(self, node: Definition) -> bytes:
        """A definition with the comments behind and below it that belong to its block."""
        end = self._at(_end(node))
        tail = re.compile(rb"(?:[ \t\f]*;)?(?:[ \t\f]*#[^\n]*)?").match(self.data, end)
        end = tail.end() if tail and tail[0] else end
        indent = self._indent_of_block(node)
        if indent is not None:
            end = self._comments_below(end, indent)
        return self.data[self._at(_start(node)) : end]

    def _indent_of_block(self, node: Definition) -> int | None:
        """How far the statements in it are indented; None where they stand behind the colon."""
        first = node.body[0]
        if isinstance(first, Definition) and first.decorator_list:
            return self._indent_of_line(first.decorator_list[0].lineno)
        begin = self.lines[first.lineno - 1]
        if self.data[begin : begin + first.col_offset].strip():
            return None
        return self._indent_of_line(first.lineno)

    def _indent_of_line(self, number: int) -> int:
        return _width(self.data[self.lines[number - 1] :])

    def _comments_below(self, end: int, indent: int) -> int:
        """Where the comments end that follow `end` and are indented by `indent` or more."""
        found = re.compile(rb"[ \t\f\r]*\n([^\n]*)").match
        at, line = end, found(self.data, end)
        while line:
            at = line.end()
            if line[1].strip():
                if not line[1].lstrip().startswith(b"#") or _width(line[1]) < indent:
                    break
                end = at
            line = found(self.data, at)
        return end


def _start(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.stmt | ast.expr) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _width(line: bytes) -> int:
    """The indentation of a line as tree-sitter counts it."""
    width = 0
    for byte in line:
        if byte == ord(" "):
            width += 1
        elif byte == ord("\t"):
            width += _TAB
        elif byte == ord("\f"):
            width = 0
        else:
            break
    return width


def _returns(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Return) for part in ast.walk(node))


def _reachable(entry_point: str, nodes: Mapping[str | None, ast.AST]) -> set[str | None]:
    """The entry point, and every name that it mentions, directly or through definitions."""
    reached: set[str | None] = set()
    pending: list[str | None] = [entry_point]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            if name in nodes:
                pending.extend(identifiers(nodes[name]))
    return reached


_NAMED = {  # kind of node -> its fields that hold names
    ast.Name: ("id",),
    ast.Attribute: ("attr",),
    ast.keyword: ("arg",),
    ast.arg: ("arg",),
    ast.FunctionDef: ("name",),
    ast.AsyncFunctionDef: ("name",),
    ast.ClassDef: ("name",),
    ast.alias: ("name", "asname"),
    ast.ImportFrom: ("module",),
    ast.Global: ("names",),
    ast.Nonlocal: ("names",),
    ast.ExceptHandler: ("name",),
    ast.MatchAs: ("name",),
    ast.MatchStar: ("name",),
    ast.MatchMapping: ("rest",),
    ast.MatchClass: ("kwd_attrs",),
}


def identifiers(tree: ast.AST) -> set[str]:
    """Every name in a program: also of attributes, keywords, parameters and modules."""
    found: set[str] = set()
    for node in ast.walk(tree):
        for field in _NAMED.get(type(node), ()):
            value = getattr(node, field)
            for name in value if isinstance(value, list) else [value or ""]:
                found.update(name.split("."))
    return found - {""}
