"""Whether a file that Python 3 refuses is Python 2: its old forms are rewritten, and it is tried again.

The rewriting keeps the meaning only as far as syntax needs it; nothing is run. It works on pieces
(strings, comments, names, numbers, marks), so what a string says is never taken for code.
"""

import re
from collections.abc import Callable, Iterator

# A string that is not closed ends with its line: it must not be tried anew at each of its marks.
_STRING = (
    r"'''|\"\"\""
    r"|'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?"
    r'|"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?'
)
_PIECE = re.compile(
    rf"(?P<prefix>[uUbB]?[rR]?)(?P<string>{_STRING})"
    r"|(?P<comment>\#[^\n]*)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<number>\d\w*)"
    r"|(?P<end>\n)|(?P<blank>[ \t\f\r]+|\\\r?\n)|(?P<mark><>|`|[\s\S])"
)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_OCTAL = re.compile(r"0[0-7]+[lL]?$")
_LONG = re.compile(r"(\d+|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+)[lL]$")
_ENDS = frozenset(":\n;")


def to_python3(text: str) -> str:
    """The text with the statements and literals of Python 2 in their new form."""
    lines = []
    for line in _logical_lines(text):
        lines += _statement(line)
    return "".join(lines)


def _logical_lines(text: str) -> Iterator[list[str]]:
    """Pieces up to each line end outside of brackets, with each `;` and block's `:` on its own."""
    line: list[str] = []
    depth, at = 0, 0
    while at < len(text):
        found = _PIECE.match(text, at)
        assert found is not None  # the last alternative matches any character
        piece, at = found.group(), found.end()
        if found["string"] in ("'''", '"""'):
            at = _triple_end(text, at, found["string"])
            piece = text[found.start() : at]
        depth = max(depth + (piece in _OPEN) - (piece in _CLOSE), 0)
        line.append(_literal(found.lastgroup, found["prefix"], piece))
        if depth == 0 and (found["end"] or piece == ";"):
            yield line
            line = []
    yield line


def _triple_end(text: str, at: int, quotes: str) -> int:
    """Where a triple-quoted string ends that began before `at`."""
    while (end := text.find(quotes, at)) >= 0:
        slashes = end - len(text[:end].rstrip("\\")) if text[end - 1] == "\\" else 0
        if slashes % 2 == 0:
            return end + 3
        at = end + 1
    return len(text)


def _literal(kind: str | None, prefix: str | None, piece: str) -> str:
    if kind == "string" and prefix and prefix.lower() == "ur":
        return piece[1:]
    if kind == "number":
        if long := _LONG.match(piece):
            piece = long.group(1)
        return f"0o{piece[1:]}" if _OCTAL.match(piece) else piece
    return "!=" if piece == "<>" else piece


def _statement(line: list[str]) -> list[str]:
    """One logical line, its first keyword's old form replaced."""
    line = _backquotes(line)
    start = _first(line, 0)
    if start < len(line) and line[start].isidentifier() and line[start] not in _REWRITES:
        start = _after_block(line, start)  # `if x: print y`
    if start >= len(line):
        return line
    rewrite = _REWRITES.get(line[start])
    if rewrite is None:
        return line
    end = len(line)
    while end > start + 1 and (line[end - 1].isspace() or line[end - 1][:1] in ("#", ";", "\n")):
        end -= 1
    return [*line[:start], *rewrite(line[start:end]), *line[end:]]


def _first(line: list[str], at: int) -> int:
    """The next piece that is neither blank nor a remark."""
    while at < len(line) and (line[at].isspace() or line[at].startswith("#")):
        at += 1
    return at


def _after_block(line: list[str], start: int) -> int:
    """The statement behind a block's colon on the same line, or the line's end."""
    depth = 0
    for at in range(start, len(line)):
        depth += (line[at] in _OPEN) - (line[at] in _CLOSE)
        if depth == 0 and line[at] == ":":
            behind = _first(line, at + 1)
            return behind
    return len(line)


def _backquotes(line: list[str]) -> list[str]:
    if "`" not in line:
        return line
    opening, result = True, []
    for piece in line:
        result.append(("repr(" if opening else ")") if piece == "`" else piece)
        opening ^= piece == "`"
    return result


def _print(pieces: list[str]) -> list[str]:
    """`print a, b` and `print >> file, a` as calls."""
    rest = "".join(pieces[1:]).strip()
    if rest.startswith(">>"):
        rest = rest[2:]
    return ["print", "(", rest, ")"]


def _exec(pieces: list[str]) -> list[str]:
    """`exec code in names` as a call."""
    depth, result = 0, []
    for piece in pieces[1:]:
        depth += (piece in _OPEN) - (piece in _CLOSE)
        result.append("," if piece == "in" and depth == 0 else piece)
    return ["exec", "(", "".join(result).strip(), ")"]


def _raise(pieces: list[str]) -> list[str]:
    """`raise Kind, value` without its comma."""
    rest = "".join(pieces[1:])
    return ["raise (", rest.strip(), ")"] if "," in pieces else pieces


def _except(pieces: list[str]) -> list[str]:
    """`except Kind, name:` with `as`; a tuple of names behind the comma becomes a name."""
    depth = 0
    for at, piece in enumerate(pieces):
        depth += (piece in _OPEN) - (piece in _CLOSE)
        if depth == 0 and piece == ",":
            colon = next((i for i in range(at, len(pieces)) if pieces[i] == ":"), len(pieces))
            body = _statement(pieces[colon + 1 :])
            return [*pieces[:at], " as name_", ":", *body]
    return pieces


def _def(pieces: list[str]) -> list[str]:
    """`def f(a, (b, c)):` with a name for the tuple."""
    depth, result = 0, []
    previous = ""
    for piece in pieces:
        opens = piece == "(" and depth == 1 and previous in ("(", ",")
        if opens:
            result.append("tuple_")
            depth += 10  # inside a tuple parameter nothing is copied
        elif depth > 10:
            depth += (piece in _OPEN) - (piece in _CLOSE)
            if depth == 11:
                depth = 1
        else:
            depth += (piece in _OPEN) - (piece in _CLOSE)
            result.append(piece)
        if opens:
            depth += 1
        if not piece.isspace():
            previous = piece
    return result


_REWRITES: dict[str, Callable[[list[str]], list[str]]] = {
    "print": _print,
    "exec": _exec,
    "raise": _raise,
    "except": _except,
    "def": _def,
}


def expand_tabs(text: str) -> str:
    """The text with indentation in spaces, a tab reaching to the next multiple of eight."""
    return "\n".join(
        (line[: len(line) - len(rest)].expandtabs(8) + rest)
        for line in text.split("\n")
        for rest in (line.lstrip(" \t"),)
    )
