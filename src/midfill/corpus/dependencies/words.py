"""What the text of a source file says: comments left out, names that occur, declared names.

Nothing here parses. Each function is one pass over the text, also over text made to be slow.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from midfill.corpus.dependencies.paths import nearest, stem_of

_LOOK_BACK = 400  # characters of a line in which `//` or a quote before a place is looked for
_VERIFY = 64  # names of which each place is looked at; with more, occurring is enough
_HERE = re.compile(r"<<[-~]?([\"']?)([A-Za-z_]\w{0,60})\1")
_MOST_HERE = 1000  # here-documents looked at in one file
_MOST_UNCLOSED = 20  # of them without an end: after more, `<<` is no sign of one in this file
_CAPITALISED = re.compile(r"[A-Z]\w*")


class Comments(NamedTuple):
    """How a language writes comments."""

    line: str = "//"
    opening: str = "/*"
    closing: str = "*/"


SLASHES = Comments()


def outside_comments(
    text: str, matches: Iterable[re.Match[str]], comments: Comments = SLASHES
) -> Iterator[re.Match[str]]:
    """The matches, in order of their places, that begin in no block comment."""
    spans = comment_spans(text, comments)
    start, end = next(spans, (len(text), len(text)))
    for match in matches:
        place = match.end() - 1  # a match begins with the line end before it
        while end <= place:
            start, end = next(spans, (len(text) + 1, len(text) + 1))
        if place < start:
            yield match


def without_comments(text: str, comments: Comments = SLASHES) -> str:
    """The text with a space in place of each block comment; line comments stay."""
    if comments.opening not in text:
        return text
    kept, place = [], 0
    for start, end in comment_spans(text, comments):
        kept.append(text[place:start])
        place = end
    kept.append(text[place:])
    return " ".join(kept)


def comment_spans(text: str, comments: Comments = SLASHES) -> Iterator[tuple[int, int]]:
    """Start and end of each block comment; one that is never closed ends with the text.

    An opening in a line comment or after an odd number of quotes of its line opens nothing.
    """
    line, opening, closing = comments
    start = text.find(opening)
    while start >= 0:
        after = start + len(opening)
        if opening[0] != "\n" and _in_line_comment_or_string(text, start, line):
            start = text.find(opening, after)
            continue
        close = text.find(closing, after)
        end = len(text) if close < 0 else close + len(closing)
        yield start, end
        start = text.find(opening, end)


def _in_line_comment_or_string(text: str, place: int, line: str) -> bool:
    floor = max(0, place - _LOOK_BACK)
    begin = text.rfind("\n", floor, place) + 1 or floor
    before = text[begin:place]
    return line in before or before.count('"') % 2 == 1


def here_documents(text: str) -> list[tuple[int, int]]:
    """Start and end of each text between `<<TAG` and a line that is TAG, in order."""
    spans: list[tuple[int, int]] = []
    unclosed: set[str] = set()
    end = 0
    for match in _HERE.finditer(text) if "<<" in text else ():
        tag = match[2]
        if match.start() < end or tag in unclosed:
            continue
        close = re.compile(rf"\n[ \t]*{tag}[ \t\r]*(?:\n|\Z)").search(text, match.end())
        if close is None:
            unclosed.add(tag)
        else:
            end = close.end() - 1
            spans.append((match.end(), end))
        if len(spans) >= _MOST_HERE or len(unclosed) > _MOST_UNCLOSED:
            break
    return spans


def within(place: int, spans: list[tuple[int, int]]) -> bool:
    """Whether a place lies inside one of the spans, which are in order."""
    number = bisect_right(spans, (place, place)) - 1
    return number >= 0 and place < spans[number][1]


def capitalised(text: str) -> set[str]:
    """The longest runs of word characters that begin with A to Z, wherever in a word they begin."""
    return set(_CAPITALISED.findall(text))


def mentioned(text: str, names: Collection[str], line: str = "//") -> list[str]:
    """Those of `names` that stand in `text` as whole words, in no line comment and no string."""
    if len(names) > _VERIFY:
        return list(names)
    return [name for name in names if _mentions(text, name, line)]


def _mentions(text: str, name: str, line: str) -> bool:
    place = text.find(name)
    while place >= 0:
        end = place + len(name)
        if (
            not _is_word(text[place - 1 : place])
            and not _is_word(text[end : end + 1])
            and not _in_line_comment_or_string(text, place, line)
        ):
            return True
        place = text.find(name, end)
    return False


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


class Declared:
    """The files that declare a name, by scope: a package, a namespace or a module.

    Files are added in the order of their paths.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, dict[str, list[str]]] = {}

    def __contains__(self, scope: str) -> bool:
        return scope in self._scopes

    def add(self, scope: str, name: str, path: str) -> None:
        """Note that `path` declares `name` in `scope`."""
        paths = self._scopes.setdefault(scope, {}).setdefault(name, [])
        if not paths or paths[-1] != path:
            paths.append(path)

    def find(self, scope: str, name: str, user: str) -> str | None:
        """The file that `user` means by the name: one called as the name, then the nearest."""
        paths = self._scopes.get(scope, {}).get(name)
        if not paths:
            return None
        if len(paths) == 1:
            return paths[0]
        named = [path for path in paths[:_VERIFY] if stem_of(path) == name]
        return nearest(user, named or paths)

    def among(self, scope: str, words: Iterable[str]) -> list[str]:
        """Those of `words` that are declared in `scope`."""
        names = self._scopes.get(scope)
        return [word for word in words if word in names] if names else []


def indentation(text: str, place: int) -> int:
    """How many blanks the line of this place begins with; large for a line that is far too long."""
    begin = text.rfind("\n", max(0, place - _LOOK_BACK), place) + 1
    line = text[begin:place] if begin else " " * _LOOK_BACK
    return len(line) - len(line.lstrip())


def top_level(found: Iterable[tuple[int, str]]) -> list[str]:
    """The names of least indentation: declarations nested in others are reached through those."""
    known = list(found)
    least = min((indent for indent, _ in known), default=0)
    return [name for indent, name in known if indent == least]
