"""What the text of a source file says: comments left out, names that occur, declared names.

Nothing here parses. Each function is one pass over the text, also over text made to be slow: in
native code where it is built, else in Python. Functions that begin with `plain_` are the readable
twins of `native/code.cpp` and equal it on every text.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from midfill.corpus.dependencies.paths import nearest, stem_of

try:
    from midfill.corpus import _native as native  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # no compiler was there
    native = None

_LOOK_BACK = 400  # characters of a line in which `//` or a quote before a place is looked for
_VERIFY = 64  # names that must stand alone; of more, occurring within a word is enough
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
    found = list(matches)
    if not found:
        return iter(())
    places = [match.end() - 1 for match in found]  # a match begins with the line end before it
    outside = native.outside if native else plain_outside
    return (found[number] for number in outside(text, places, *comments))


def plain_outside(text: str, places: list[int], line: str, opening: str, closing: str) -> list[int]:
    """Which of the places, which are in order, lie in no block comment: their numbers."""
    kept = []
    spans = comment_spans(text, Comments(line, opening, closing))
    start, end = next(spans, (len(text), len(text)))
    for number, place in enumerate(places):
        while end <= place:
            start, end = next(spans, (len(text) + 1, len(text) + 1))
        if place < start:
            kept.append(number)
    return kept


def without_comments(text: str, comments: Comments = SLASHES) -> str:
    """The text with a space in place of each block comment; line comments stay."""
    return (native.without_comments if native else plain_without_comments)(text, *comments)


def plain_without_comments(text: str, line: str, opening: str, closing: str) -> str:
    """What `without_comments` returns, by Python alone."""
    kept, place = [], 0
    for start, end in comment_spans(text, Comments(line, opening, closing)):
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


def capitalised(text: str, line: str = "//") -> dict[str, bool]:
    """The longest runs of word characters that begin with A to Z, wherever in a word they begin.

    With each, whether it stands somewhere as a whole word, in no line comment and no string.
    """
    return (native.capitalised if native else plain_capitalised)(text, line)


def plain_capitalised(text: str, line: str) -> dict[str, bool]:
    """What `capitalised` returns, by Python alone."""
    words: dict[str, bool] = {}
    for match in _CAPITALISED.finditer(text):
        word, place = match[0], match.start()
        if words.setdefault(word, False) or _is_word(text[place - 1 : place]):
            continue
        words[word] = not _in_line_comment_or_string(text, place, line)
    return words


def mentioned(words: Mapping[str, bool], names: Collection[str]) -> Collection[str]:
    """Those of `names` that the text mentions, of which `words` are the capitalised ones."""
    if len(names) > _VERIFY:
        return names
    return [name for name in names if words[name]]


def at_line_starts(
    pattern: re.Pattern[str], text: str, words: tuple[str, ...]
) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` yields, of a pattern that is fast only where it is tried seldom.

    It must begin with a line end, blanks or none, and one of `words`.
    """
    return matches_at(pattern, text, line_starts(text, words))


def at_places(
    pattern: re.Pattern[str], text: str, words: tuple[str, ...]
) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` yields, of a pattern that begins with one of `words`."""
    return matches_at(pattern, text, places_of(text, words))


def matches_at(
    pattern: re.Pattern[str], text: str, places: Iterable[int]
) -> Iterator[re.Match[str]]:
    """The matches that begin at one of the places, which are in order, and in no earlier match."""
    end = 0
    for place in places:
        match = pattern.match(text, place) if place >= end else None
        if match is not None:
            end = match.end()
            yield match


def line_starts(text: str, words: tuple[str, ...]) -> list[int]:
    """The line ends behind which, after blanks, any of the words stands."""
    return (native.line_starts if native else plain_line_starts)(text, words)


def places_of(text: str, words: tuple[str, ...]) -> list[int]:
    """Where any of the words, of two Latin-1 characters or more, stands, also within others."""
    return (native.places if native else plain_places)(text, words)


def plain_places(text: str, words: tuple[str, ...]) -> list[int]:
    """What `places_of` returns, by Python alone."""
    return [match.start() for match in _any_of("(?={})", words).finditer(text)]


def plain_line_starts(text: str, words: tuple[str, ...]) -> list[int]:
    """What `line_starts` returns, by Python alone."""
    return [match.start() for match in _any_of(r"\n(?=[ \t]*{})", words).finditer(text)]


@cache
def _any_of(pattern: str, words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(pattern.format(f"(?:{'|'.join(map(re.escape, words))})"))


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

    def among(self, scope: str, words: Mapping[str, object]) -> Collection[str]:
        """Those of `words` that are declared in `scope`."""
        names = self._scopes.get(scope)
        return names.keys() & words.keys() if names else ()


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
