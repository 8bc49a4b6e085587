"""What decontamination compares: words, which are runs of `\\w` after NFC and case folding.

Punctuation, indentation, line ends and marks of comments are no part of a word, so a docstring is
found however it was wrapped. What stands between two lines is: an instruction between two lines of
a comment, a remark between two lines of code. Therefore code and comments are also read apart.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

Marks = tuple[tuple[str, str], ...]  # what opens a comment and what closes it; "": the line's end

_WORD = re.compile(r"\w+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s<>\"']+")
_LINE_END = re.compile(r"\r\n|\r|\n")
_AROUND = 2000  # characters on each side of a hyphenated word, far more than a gram is long
# A word that a line of text was hyphenated in; the mark of a comment may begin the next line.
_HYPHEN = re.compile(
    r"-(?<=[^\W\d_]-)(\r\n|\r|\n)[ \t]*(?:(?:#+|//+|\*|--|;+|%+)[ \t]*)?([^\W\d_]+)"
)
_DOCSTRINGS: Mapping[str, Marks] = {"Python": (('"""', '"""'), ("'''", "'''"))}
_USUAL: Marks = (("/*", "*/"), ("//", ""), ("#", ""))  # where nobody knows the language


def fold(text: str) -> str:
    """The text in the one spelling in which words are compared."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def words(text: str) -> list[str]:
    """The words of a text in order, folded."""
    return _WORD.findall(fold(text))


def is_informative(word: str) -> bool:
    """Whether a word has two characters or more and a letter."""
    return len(word) > 1 and any(map(str.isalpha, word))


def in_addresses(text: str) -> list[bool]:
    """Of each word of a text, whether it stands in an address of the web."""
    text = fold(text)
    inside = [hit.span() for hit in _ADDRESS.finditer(text)]
    at, told = 0, []
    for word in _WORD.finditer(text):
        while at < len(inside) and inside[at][1] <= word.start():
            at += 1
        told.append(at < len(inside) and inside[at][0] <= word.start())
    return told


def numbered(text: str) -> list[tuple[str, int]]:
    """The words of a folded text, each with the number of its line, from 1."""
    lines = _LINE_END.split(text)
    return [(word, line) for line, part in enumerate(lines, 1) for word in _WORD.findall(part)]


def unhyphenated(text: str) -> list[tuple[str, int]]:
    """The surroundings of words hyphenated at a line's end, with these words made whole.

    Each with the number of lines before it. A word moves to the line it began in.
    """
    spans: list[list[int]] = []
    for hit in _HYPHEN.finditer(text):
        start, end = max(hit.start() - _AROUND, 0), hit.end() + _AROUND
        if spans and start <= spans[-1][1]:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    pieces, line, counted = [], 0, 0
    for start, end in spans:
        line += len(_LINE_END.findall(text, counted, start))
        counted = start
        pieces.append((_HYPHEN.sub(r"\2\1", text[start:end]), line))
    return pieces


@cache
def marks_of(language: str | None) -> Marks:
    """How a language of this name marks its comments, docstrings among them; longest mark first.

    Marks that begin with a letter, as BASIC's REM, are left out: they are found in words.
    """
    if language is None:
        return _USUAL
    from midfill.corpus.languages import LANGUAGES

    found = LANGUAGES.get(language)
    if found is None:
        return _USUAL
    marks = set(_DOCSTRINGS.get(language, ()))
    if found.line_comment:
        marks.add((found.line_comment, ""))
    if found.block_comment:
        marks.add(found.block_comment)
    folded = {(fold(opens.strip()), fold(closes.strip())) for opens, closes in marks}
    usable = (mark for mark in folded if not any(end[:1].isalnum() for end in mark) and mark[0])
    return tuple(sorted(usable, key=lambda mark: (-len(mark[0]), mark)))


def apart(text: str, marks: Marks) -> tuple[str, str]:
    """The code and the comments of a folded text, each with spaces where the other was."""
    comment = _comment(marks)
    code, comments, at = [], [], 0
    for hit in comment.finditer(text):
        inside = hit[hit.lastindex or 0]
        before, mark = text[at : hit.start()], hit.start(hit.lastindex or 0) - hit.start()
        code += [before, _blank(hit[0])]
        comments += [_blank(before), " " * mark, inside]
        comments.append(" " * (len(hit[0]) - mark - len(inside)))
        at = hit.end()
    return "".join([*code, text[at:]]), "".join([*comments, _blank(text[at:])])


@cache
def _comment(marks: Marks) -> re.Pattern[str]:
    def pattern(opens: str, closes: str) -> str:
        if not closes:
            return rf"{re.escape(opens)}([^\r\n]*)"
        return rf"{re.escape(opens)}(.*?)(?:{re.escape(closes)}|\Z)"

    return re.compile("|".join(pattern(*mark) for mark in marks), re.DOTALL)


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)
