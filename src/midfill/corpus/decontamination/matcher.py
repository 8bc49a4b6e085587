"""Finds the rows of an index in a file: the compiled loop, and its readable twin."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from midfill.corpus.decontamination.words import Marks, apart, fold, numbered, unhyphenated

try:
    from midfill.corpus import _native  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # a machine without a compiler
    _native = None

if TYPE_CHECKING:
    from midfill.corpus.decontamination.index import Index

Found = dict[int, int]  # row to the first line it begins in, by row


class Matcher(Protocol):
    """Finds grams and short texts in a file."""

    def find(self, text: str, marks: Marks) -> Found:
        """Every row found in the file, in its code alone or in its comments alone."""
        ...


def matcher(index: "Index") -> Matcher:
    """The fastest matcher that this machine has."""
    return ReadableMatcher(index) if _native is None else CompiledMatcher(index)


class CompiledMatcher:
    """The loop of native/grams.cpp."""

    def __init__(self, index: "Index") -> None:
        assert _native is not None
        held = (index.words, index.ends, index.stream, index.gram_at, index.text_at)
        raw = [array.tobytes() for array in (*held, index.text_size)]
        self._native = _native.GramMatcher(index.n, index.shortest, *raw)

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
    """The same in Python; it needs some hundred bytes a gram."""

    def __init__(self, index: "Index") -> None:
        grams = len(index.gram_at)
        self._n, self._ending = index.n, index.shortest
        self._grams = {index.text(row): row for row in range(grams)}
        self._texts: dict[str, list[tuple[list[str], int]]] = {}  # by their last words
        for row in range(grams, index.rows):
            text = index.text(row).split(" ")
            ending = " ".join(text[-self._ending :])
            self._texts.setdefault(ending, []).append((text, row))
        self._longest = max([self._n, *index.text_size.tolist()])

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
