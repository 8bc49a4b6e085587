"""Wrong programs made out of right ones: what tests should notice.

Each mutant differs in one place: a comparison turned, a whole number one larger, an operator
exchanged, a returned value replaced by None. Nothing is drawn at random, so that a self-check says
the same on every machine. Not every mutant is wrong: some places do not matter.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["comparison", "constant", "operator", "return"]
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A program changed in one place."""

    code: str
    kind: Kind
    line: int  # of the original


def mutants(code: str, entry_point: str | None = None, most: int | None = None) -> list[Mutant]:
    """The mutants of a Python program, kinds taken in turn; at most `most` of them.

    With an entry point only that function is changed. A program that does not parse has none.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return []
    by_kind: dict[Kind, list[Mutant]] = {}
    for number, (kind, line) in enumerate(_places(tree, entry_point)):
        changed = copy.deepcopy(tree)
        for at, (node, change) in enumerate(_changes(changed, entry_point)):
            if at == number:
                change(node)
                break
        text = ast.unparse(ast.fix_missing_locations(changed))
        by_kind.setdefault(kind, []).append(Mutant(code=text, kind=kind, line=line))
    taken = list(_in_turn(list(by_kind.values())))
    return taken if most is None else taken[:most]


def _in_turn(lists: list[list[Mutant]]) -> Iterator[Mutant]:
    for number in range(max(map(len, lists), default=0)):
        for some in lists:
            if number < len(some):
                yield some[number]


def _places(tree: ast.Module, entry_point: str | None) -> Iterator[tuple[Kind, int]]:
    for node, change in _changes(tree, entry_point):
        yield change.kind, getattr(node, "lineno", 0)


@dataclass(frozen=True, slots=True)
class _Change:
    kind: Kind

    def __call__(self, node: ast.AST) -> None:
        """Change the node in place."""
        if isinstance(node, ast.Compare):
            node.ops[0] = COMPARISONS[type(node.ops[0])]()
        elif isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            node.value += 1
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            node.op = OPERATORS[type(node.op)]()
        elif isinstance(node, ast.Return):
            node.value = ast.Constant(None)


def _changes(tree: ast.Module, entry_point: str | None) -> Iterator[tuple[ast.AST, _Change]]:
    for node in ast.walk(_scope(tree, entry_point)):
        if kind := _kind(node):
            yield node, _Change(kind)


def _scope(tree: ast.Module, entry_point: str | None) -> ast.AST:
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry_point]
    return functions[-1] if functions else tree


def _kind(node: ast.AST) -> Kind | None:
    match node:
        case ast.Compare(ops=[first, *_]) if type(first) in COMPARISONS:
            return "comparison"
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return "constant"
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            return "operator"
        case ast.Return(value=value) if value is not None:
            return "return"
    return None
