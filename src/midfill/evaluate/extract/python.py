"""Python in replies: which lines parse, where the longest run of them is, what a program defines."""

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterator

ANSI = re.compile(r"\x1B(?:[@-Z\\-_]|\[[0-?]*[ -/]*[@-~])")  # ECMA-48; terminals colour replies

# Messages of CPython after which a longer text fails too: the fault is in tokens that were read
# before the last line, not in the end of the text. With others (`try:` alone gives several) the
# next line may mend it, and nothing is concluded.
_FINAL = (
    "expected 'else' after 'if' expression",
    "expected 'except' or 'finally' block",
    "expected an indented block",
    "invalid character",
    "invalid decimal literal",
    "invalid non-printable character",
    "invalid syntax. Perhaps you forgot a comma?",
    "too many nested parentheses",
    "unexpected character after line continuation character",
    "unexpected indent",
    "unindent does not match",
    "unmatched ",
    "':' expected after dictionary key",
)
_DETECTED = re.compile(r"detected at line (\d+)")


def parse(text: str) -> ast.Module | SyntaxError:
    """The syntax tree of a program, or why there is none; says nothing about odd escapes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        return error
    except (MemoryError, RecursionError, ValueError) as error:
        return SyntaxError(f"too deep or no text: {error}")


def longest_run(text: str) -> str:
    """The consecutive lines, at least two, that parse and have most lines that are not blank.

    The first of several; the first line alone where no two lines parse. As EvalPlus defines it,
    without its parse of every pair of lines: what a failed parse rules out is not tried.
    """
    lines = text.split("\n")
    written = [0]  # lines before this one that are not blank
    for line in lines:
        written.append(written[-1] + bool(line.strip()))
    best, most = (0, 0), 0
    for first in range(len(lines) - 1):
        if written[-1] - written[first] <= most:
            break
        last = _last(lines, first, written, most)
        if last is not None:
            most = written[last + 1] - written[first]
            best = (first, last)
    return "\n".join(lines[best[0] : best[1] + 1])


def _last(lines: list[str], first: int, written: list[int], most: int) -> int | None:
    """Where the best run from `first` on ends; None where none has more than `most` lines."""
    start = lines[first : first + 2]
    tree = parse("\n".join(start))
    if isinstance(tree, SyntaxError) and _final_line(tree, start) == 1:
        return None  # prose: the long rest need not be parsed to know
    last = len(lines) - 1
    while last > first and written[last + 1] - written[first] > most:
        run = lines[first : last + 1]
        tree = parse("\n".join(run))
        if isinstance(tree, ast.Module):
            return _without_blanks(lines, first, last)
        last = first + at_most(tree, run) - 1
    return None


def _without_blanks(lines: list[str], first: int, last: int) -> int:
    """The end of the shortest run that parses and lacks only blank lines at its end."""
    shortest = last
    while shortest > first + 1 and not lines[shortest].strip():
        shortest -= 1
    for end in range(shortest, last):
        if isinstance(parse("\n".join(lines[first : end + 1])), ast.Module):
            return end
    return last


def at_most(error: SyntaxError, lines: list[str]) -> int:
    """How many of the lines can still parse at most, once all of them do not."""
    line, message = error.lineno, error.msg
    if line is None or not 1 <= line <= len(lines):
        return len(lines) - 1
    if "was never closed" in message or message.startswith("unterminated triple-quoted"):
        return line - 1  # nor is it closed in a shorter text that holds it
    return _final_line(error, lines) or len(lines) - 1


def _final_line(error: SyntaxError, lines: list[str]) -> int | None:
    """The line behind which every text fails that starts with these; None where it is not known."""
    message, line = error.msg, max(error.lineno or len(lines), error.end_lineno or 0)
    if message.startswith("unterminated triple-quoted"):
        return None
    if message.startswith("unterminated ") and (found := _DETECTED.search(message)):
        line = int(found[1])
    elif message != "invalid syntax" and not message.startswith(_FINAL):
        return None
    # The end of the text is reported on the last line that is more than a comment.
    more = any(text.strip() and not text.lstrip().startswith("#") for text in lines[line:])
    return line if line >= 1 and more else None


def defined(tree: ast.Module) -> set[str]:
    """Names that a program gives a meaning at its top level, also within `if` and `try`."""
    names: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return names


def missing(program: str) -> set[str]:
    """Names that a program reads from its top level, builtins aside, and does not define there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(program, "program", "exec")
    except (SyntaxError, RecursionError):  # parses, but `return` outside a function and the like
        return set()
    found = set(_read_at_top(table)) - set(dir(builtins))
    return found - {symbol.get_name() for symbol in table.get_symbols() if _is_set(symbol)}


def _read_at_top(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _read_at_top(child)


def _is_set(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
