"""Finds the rows of an index in a file: the compiled loop, and its readable twin."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from midfill.corpus.decontamination.words import Marks, apart, fold, numbered, unhyphenated

native: Any  # the compiled loops, or None
try:
    from midfill.corpus import _native  # pyright: ignore[reportAttributeAccessIssue]

    native = _native
except ImportError:  # a machine without a compiler
    native = None

Found = dict[int, int]  # row to the first line it begins in, by row


class Matcher(Protocol):
    """Finds grams and short texts in a file."""

    def find(self, text: str, marks: Marks) -> Found:
        """Every row found in the file, in its code alone or in its comments alone."""
        ...


class CompiledMatcher:
    """The loop of native/grams.cpp; `arrays` are those of an index, as it takes them."""

    def __init__(self, n: int, shortest: int, arrays: Sequence[bytes]) -> None:
        self._native = native.GramMatcher(n, shortest, *arrays)

    def find(self, text: str, marks: Marks) -> Found:
        """As `Matcher.find`."""
        if not text.isascii():  # of ASCII the compiled loop folds case itself
            text = fold(text)
        found: Found = dict(self._scan(text, marks if _any_opens(marks, text) else ()))
        for piece, before in unhyphenated(text):
            for row, line in self._scan(piece, ()):
                found[row] = min(line + before, found.get(row, line + before))
        return dict(sorted(found.items()))

    def _scan(self, text: str, marks: Marks) -> list[tuple[int, int]]:
        return self._native.scan(text.encode("utf-8", "surrogatepass"), marks)


def _any_opens(marks: Marks, text: str) -> bool:
    """Whether the text may have a comment: without one there is nothing to read apart.

    The last mark is the shortest and the likeliest. One with letters, as Ruby's =begin, may stand
    here in capitals.
    """
    return any(mark in text or mark != mark.upper() for mark, _ in reversed(marks))


class ReadableMatcher:
    """The same in Python, from the words of every row, grams first; some hundred bytes a gram."""

    def __init__(self, n: int, shortest: int, rows: Sequence[str], grams: int) -> None:
        self._n, self._ending = n, shortest
        self._grams = {text: row for row, text in enumerate(rows[:grams])}
        self._texts: dict[str, list[tuple[list[str], int]]] = {}  # by their last words
        self._longest = n
        for row, joined in enumerate(rows[grams:], grams):
            text = joined.split(" ")
            ending = " ".join(text[-self._ending :])
            self._texts.setdefault(ending, []).append((text, row))
            self._longest = max(self._longest, len(text))

    def find(self, text: str, marks: Marks) -> Found:
        """As `Matcher.find`."""
        text = fold(text)
        readings = [(text, 0), *unhyphenated(text)]
        if any(opens in text for opens, _ in marks):
            readings += [(part, 0) for part in apart(text, marks)]
        found: Found = {}
        for reading, before in readings:
            for row, line in self._rows(reading):
                found[row] = min(line + before, found.get(row, line + before))
        return dict(sorted(found.items()))

    def _rows(self, text: str) -> Iterator[tuple[int, int]]:
        last: deque[tuple[str, int]] = deque(maxlen=self._longest)
        for item in numbered(text):
            last.append(item)
            tail = [word for word, _ in last]
            gram = " ".join(tail[-self._n :])
            if len(tail) >= self._n and gram in self._grams:
                yield self._grams[gram], last[-self._n][1]
            for words, row in self._texts.get(" ".join(tail[-self._ending :]), ()):
                if tail[-len(words) :] == words:
                    yield row, last[-len(words)][1]
