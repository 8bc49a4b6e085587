"""How a file reads: numbers for the readability and modularity of DeepSeek-Coder 2.4.

The paper names the two and gives no formula; these are ours. They are estimates on text, of every
language alike, in one reading: what is a comment, a string and a function's first line is found by
patterns, not by parsing. The bounds in the configuration are far from what people write. The counts
are taken in native code where it is built; `plain_counts` is its readable twin.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from midfill.config.corpus.quality import BOUND_NAMES, Bounds, HeuristicConfig
from midfill.corpus.languages import LANGUAGES
from midfill.corpus.record import Document, Drop, Rule

try:
    from midfill.corpus import _native as native  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # no compiler was there
    native = None

Codes = npt.NDArray[np.uint8]  # one per character: its ASCII code, 128 for all others
CountTokens = Callable[[str], int]

TAB = 4  # columns
SHORT_LINE = 3  # characters
BLANK = 32  # this code and below
_LETTER, _DIGIT = 2, 1
_KIND = np.zeros(129, np.uint8)  # by code: part of a name, and whether it may begin one
_KIND[[*range(65, 91), *range(97, 123), ord("_"), 128]] = _LETTER
_KIND[48:58] = _DIGIT

# A pattern begins with the set of all opening characters, over which the engine skips quickly; each
# alternative then looks back at its own. It also matches where it is not closed, up to the line's or
# text's end: one that could fail there would read the rest of the text anew at each opening.
_DOUBLE = r'(?<=")[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
_SINGLE = r"(?<=')[^'\\\n]*(?:\\.[^'\\\n]*)*'?"
_TRIPLE = r"(?<=\")\"\"[\s\S]*?(?:\"\"\"|\Z)|(?<=')''[\s\S]*?(?:'''|\Z)"
_BACKTICK = r"(?<=`)[^`\\]*(?:\\[\s\S]?[^`\\]*)*(?:`|\Z)"
_BEFORE_DOCSTRING = re.compile(r"(?:^|\n)[ \t]*[rRuUbB]?\Z")
# A single quote is no string in these: a lifetime, a prime, a quoted symbol, an apostrophe.
_NO_SINGLE = frozenset(
    "Rust Haskell OCaml Scheme Racket Clojure TeX HTML XML Ada VHDL Verilog SystemVerilog MATLAB "
    "F# Agda Idris Lean".split()
) | {"Common Lisp", "Emacs Lisp", "Standard ML", "Visual Basic"}
_WITH_BACKTICK = frozenset(("JavaScript", "TypeScript", "Go", "JSX"))

_CONTROL = r"(?!(?:if|for|foreach|while|switch|catch|else|do|try|using|lock|return|case|with)\b)"
_FUNCTION = re.compile(
    r"^[ \t]*(?:"
    r"(?:\w+[ \t]+){0,4}(?:def|defp|func|function|fn|fun|sub|proc|procedure|method)\b[ \t]*[\w(*]"
    r"|\((?:defun|defn|define|defmethod)\b"
    rf"|{_CONTROL}[A-Za-z_~@][^\n;{{}}=\"]{{0,200}}\)[^\n;{{}}=\"()]{{0,80}}\n?[ \t]{{0,80}}\{{"
    r")",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What is measured of one file. A share is of 1; nan: nothing to measure it on."""

    lines: int  # that are not blank
    comment: float  # non-blank characters inside comments, of all non-blank characters
    name: float  # mean characters of a name in code; keywords count
    one_letter: float  # names of one letter, of all names in code
    function_lines: float  # mean non-blank lines from a function's first line to the next one's
    nesting: float  # mean indentation levels of a non-blank line
    duplicate_lines: float  # lines of more than 3 characters that repeat an earlier one, of such
    literal: float  # characters in strings and digits, of all non-blank characters outside comments
    per_token: float = float("nan")  # characters per token, where a tokenizer is given


class Counts(NamedTuple):
    """What the measures of one text are computed from; all are characters where nothing is said."""

    filled: int  # that are not blank
    commented: int  # that are not blank, in comments
    strings: int  # in strings, blank ones too
    digits: int  # ASCII digits in code
    names: int  # how many names stand in code
    name_characters: int
    one_letter: int  # names of one character
    lines: int  # that are not blank
    columns: int  # of indentation, of all lines together
    step: int  # columns of the most frequent increase of indentation; 0: it never increases
    functions: int  # first lines of functions
    long_lines: int  # of more than 3 characters without white space around them
    repeated: int  # of those, how many equal an earlier one


class Marks(NamedTuple):
    """How comments and strings of a language begin and end."""

    line: str | None  # a comment to the line's end
    opening: str | None  # a block comment
    closing: str | None
    python: bool  # triple quotes
    single: bool  # a single quote begins a string
    backtick: bool  # a backtick does


def measure(text: str, language: str | None, count_tokens: CountTokens | None = None) -> Measures:
    """The measures of a text; the time is linear in its length."""
    marks = _marks(language)
    counts = Counts(*(native.code_counts if native else plain_counts)(text, *marks))
    code = counts.filled - counts.commented
    several = counts.functions > 1
    return Measures(
        lines=counts.lines,
        comment=_share(counts.commented, counts.filled),
        name=_share(counts.name_characters, counts.names),
        one_letter=_share(counts.one_letter, counts.names),
        function_lines=counts.lines / counts.functions if several else float("nan"),
        nesting=_nesting(counts),
        duplicate_lines=_share(counts.repeated, counts.long_lines),
        literal=_share(min(counts.strings + counts.digits, code), code),
        per_token=_share(len(text), count_tokens(text)) if count_tokens else float("nan"),
    )


def plain_counts(
    text: str,
    line: str | None,
    opening: str | None,
    closing: str | None,
    python: bool,
    single: bool,
    backtick: bool,
) -> tuple[int, ...]:
    """The fields of Counts, by Python alone."""
    comments, strings, rest = _parts(text, Marks(line, opening, closing, python, single, backtick))
    code, every = _codes(rest), _codes(text)
    names = _name_lengths(code)
    columns = _columns(every)
    stripped = [line for line in map(str.strip, text.split("\n")) if len(line) > SHORT_LINE]
    return (
        int(np.count_nonzero(every > BLANK)),
        int(np.count_nonzero(_codes(comments) > BLANK)),
        len(strings),
        int(np.count_nonzero(_KIND[code] == _DIGIT)),
        len(names),
        int(names.sum()),
        int(np.count_nonzero(names == 1)),
        len(columns),
        int(columns.sum()),
        _step(columns),
        sum(1 for _ in _FUNCTION.finditer(text)),
        len(stripped),
        len(stripped) - len(set(stripped)),
    )


def judge(measures: Measures, bounds: Bounds) -> Drop | None:
    """The first measure outside its bounds, by name and value; None where all are inside."""
    if measures.lines < bounds.least_lines:
        return None
    for name in BOUND_NAMES:
        bound = getattr(bounds, name)
        side, _, measured = name.partition("_")
        value = getattr(measures, measured)
        if bound is None or value != value:
            continue
        if value > bound if side == "most" else value < bound:
            return Drop(f"reads_{measured}", round(value, 4))
    return None


def heuristics(config: HeuristicConfig, count_tokens: CountTokens | None = None) -> Rule:
    """The rule that drops documents whose measures are out of bounds."""

    def rule(document: Document) -> Drop | None:
        known = LANGUAGES.get(document.language or "")
        programming = known is not None and known.kind == "programming"
        bounds = config.bounds(document.language, programming=programming)
        return judge(measure(document.text, document.language, count_tokens), bounds)

    return rule


@cache
def _marks(language: str | None) -> Marks:
    known = LANGUAGES.get(language) if language else None
    python = language == "Python"
    block = known.block_comment if known and not python else None
    opening, closing = block or (None, None)
    return Marks(
        line=(known.line_comment if known else None) or None,
        opening=opening,
        closing=closing,
        python=python,
        single=language not in _NO_SINGLE,
        backtick=language in _WITH_BACKTICK,
    )


def _parts(text: str, marks: Marks) -> tuple[str, str, str]:
    """The comments, the strings and the code of a text, each in one piece."""
    pieces = _pattern(marks).split(text)
    code, opened = pieces[0::4], pieces[1::4]
    comments = [m + rest for m, rest in zip(opened, pieces[2::4], strict=True) if rest is not None]
    strings = []
    for before, mark, rest in zip(code, opened, pieces[3::4], strict=False):
        if rest is not None:
            tripled = marks.python and rest[:2] == 2 * mark
            is_docstring = tripled and _BEFORE_DOCSTRING.search(before[-200:]) is not None
            (comments if is_docstring else strings).append(mark + rest)
    return "".join(comments), "".join(strings), " ".join(code)


@cache
def _pattern(marks: Marks) -> re.Pattern[str]:
    """An opening character as group 1, a comment's rest as 2, a string's as 3; between is code."""
    comments, strings, openings = [], [_DOUBLE], {'"'}

    def add(opening: str, rest: str) -> None:
        openings.add(opening[0])
        comments.append(f"(?<={re.escape(opening[0])}){re.escape(opening[1:])}{rest}")

    if marks.line:
        add(marks.line, r"[^\n]*")
    if marks.opening and marks.closing:
        add(marks.opening, rf"[\s\S]*?(?:{re.escape(marks.closing)}|\Z)")
    if marks.python:
        strings.insert(0, _TRIPLE)
    if marks.single:
        strings.append(_SINGLE)
        openings.add("'")
    if marks.backtick:
        strings.append(_BACKTICK)
        openings.add("`")
    first = "".join(map(re.escape, sorted(openings)))
    never = r"(?!)"
    return re.compile(f"([{first}])(?:({'|'.join(comments) or never})|({'|'.join(strings)}))")


def _codes(text: str) -> Codes:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    wide = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.minimum(wide, 128).astype(np.uint8)


def _name_lengths(code: Codes) -> npt.NDArray[np.int64]:
    """Characters of each name: a run of letters, digits and _ that a digit does not begin."""
    kind = _KIND[code]
    inside = np.zeros(len(code) + 2, np.bool_)
    inside[1:-1] = kind > 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    return (ends - starts)[kind[starts] == _LETTER]


def _columns(every: Codes) -> npt.NDArray[np.int64]:
    """The indentation of each non-blank line, in columns."""
    filled = np.flatnonzero(every > BLANK)
    breaks = np.concatenate(([-1], np.flatnonzero(every == 10)))
    first = np.searchsorted(filled, breaks)  # the first filled place behind each line break
    in_text = first < len(filled)
    at, start = filled[first[in_text]], breaks[in_text] + 1
    end = np.append(breaks[1:], len(every))[in_text]
    there = at < end
    at, start = at[there], start[there]
    is_tab = every == 9
    if not is_tab.any():
        return at - start
    tabs = np.concatenate(([0], np.cumsum(is_tab)))
    return at - start + (TAB - 1) * (tabs[at] - tabs[start])


def _step(columns: npt.NDArray[np.int64]) -> int:
    """The most frequent increase from a line to the next, the smallest of such; 0: there is none."""
    steps = np.diff(columns)
    steps = steps[steps > 0]
    if not len(steps):
        return 0
    sizes, counts = np.unique(steps, return_counts=True)
    return int(sizes[counts.argmax()])


def _nesting(counts: Counts) -> float:
    """Mean indentation in levels; a level is the file's most frequent increase."""
    if not counts.step:
        return 0.0 if counts.lines else float("nan")
    return counts.columns / counts.lines / counts.step


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
