"""Which files need a parser: a test that is some fifty times as fast and errs on the side of parsing.

A file of a real package is hardly ever broken, and then mostly by what shows without a grammar: it
is short (a test case of some tool), the source of a template, a merge that was given up, cut off,
or a bracket is missing. Brackets are counted first over all bytes, and only where their numbers
differ once more without strings and comments.
"""

import re
from functools import cache

ALWAYS = frozenset(("JSON", "TOML", "XML"))  # their parsers are as fast as this
TEMPLATES = frozenset(("HTML", "YAML", "PHP", "CSS"))  # in which braces and <% are no sign

_KEPT = b'()[]{}<%\t"'
_OTHERS = bytes(set(range(256)) - set(_KEPT))
_PAIRS = ((b"(", b")"), (b"[", b"]"), (b"{", b"}"))
_MARKS = (b"<<<<<<< ", b"{% ", b"{%- ", b"<% ", b"<%= ", b"{{ ")
_HINTS = (b"<<<<<<<", b"{%", b"<%", b"{{")  # what of these is left among the kept bytes
_UNFINISHED = frozenset(",+([{&|\\")  # no */ of a comment
_LAST = 200  # characters at the end among which the last that is not blank is looked for

# What is not closed ends with its line or the text: it must not be tried anew at each of its marks.
_TRIPLE = (
    rb'"""[^"\\]*(?:(?:\\[\s\S]|"(?!""))[^"\\]*)*(?:"""|\Z)'
    rb"|'''[^'\\]*(?:(?:\\[\s\S]|'(?!''))[^'\\]*)*(?:'''|\Z)"
)
_DOUBLE = rb'"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?'
_SINGLE = rb"'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?"
_CHARACTER = rb"'(?:[^'\\\n]{1,4}|\\[^\n]{1,9}?)'"  # where 'a may also be a name, as in Rust
_CHARACTERS = frozenset(("C", "C#", "C++", "Go", "Haskell", "Java", "Kotlin", "OCaml", "Rust"))


def suspicion(language: str, text: str, small: int) -> str | None:
    """Why a text may be broken, in one word, or None. `small`: characters that are always parsed."""
    if language in ALWAYS:
        return "cheap"
    if len(text) <= small:
        return "small"
    return _ends(language, text) or _inside(language, text)


def _ends(language: str, text: str) -> str | None:
    """What the first and the last characters say."""
    if text[-_LAST:].rstrip()[-1:] in _UNFINISHED:
        return "unfinished"
    if language == "Python" and text[0] in " \t":
        return "indented"
    if language == "PHP" and not text[:_LAST].lstrip("\ufeff \t\r\n").startswith(("<?", "#!")):
        return "no_tag"
    return None


def _inside(language: str, text: str) -> str | None:
    if "\ufffd" in text:
        return "undecoded"
    data = text.encode("utf-8", "surrogatepass")
    kept = data.translate(None, _OTHERS)
    if _has_marks(language, data, kept):
        return "marks"
    is_python = language == "Python"
    if is_python and b"\t" in kept and b"\n\t" in data and b"\n  " in data:
        return "tabs"
    odd = kept.count(b'"') % 2
    if is_python and odd and data.count(b'"""') % 2:
        return "quotes"
    if (odd or _differ(kept)) and _differ(_plain(language).sub(b"", data)):
        return "brackets"
    return None


def _has_marks(language: str, data: bytes, kept: bytes) -> bool:
    """Whether the text is a template of a text, or has marks of a merge."""
    marks = _MARKS[:1] if language in TEMPLATES else _MARKS
    return any(hint in kept for hint in _HINTS) and any(mark in data for mark in marks)


def _differ(data: bytes) -> bool:
    """Whether opening and closing brackets of a kind are not equally many."""
    return any(data.count(opens) != data.count(closes) for opens, closes in _PAIRS)


@cache
def _plain(language: str) -> re.Pattern[bytes]:
    """Strings and comments of a language."""
    from midfill.corpus.languages import LANGUAGES

    known = LANGUAGES[language]
    parts = [_TRIPLE, _DOUBLE] if language == "Python" else [_DOUBLE]
    parts.append(_CHARACTER if language in _CHARACTERS else _SINGLE)
    if known.line_comment:
        parts.append(re.escape(known.line_comment.strip().encode()) + rb"[^\n]*")
    if known.block_comment:
        opens, closes = (re.escape(mark.encode()) for mark in known.block_comment)
        parts.append(opens + rb"[\s\S]*?(?:" + closes + rb"|\Z)")
    return re.compile(b"|".join(parts))
