"""Lines guessed from tables of lines: what a model that fills single lines has to beat.

Four tables: the most frequent line, of those after the same line before, of those between the same
two lines, of those after the same line in the same file. Lines of training are read once; memory
holds followers of only those lines that holes stand behind, and of each at most `MOST` of the more
frequent ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from midfill.evaluate.code_lines import worth_asking

MOST = 20_000  # different lines that a counter holds before the rarer half is forgotten
COMMONEST = "most frequent line"
PREVIOUS = "most frequent after the line before"
PAIR = "between the same two lines"
SAME_FILE = "after the same line in the file"
NAMES = (COMMONEST, PREVIOUS, PAIR, SAME_FILE)


@dataclass(frozen=True, slots=True)
class Place:
    """A hole: its language, and the lines that say something before and behind it."""

    language: str
    before: str
    behind: str


@dataclass(slots=True)
class Frequent:
    """Counts of lines, exact up to MOST different ones; beyond it the rarer half is forgotten."""

    counts: Counter[str] = field(default_factory=Counter)
    most: int = MOST

    def add(self, line: str) -> None:
        """Count a line."""
        self.counts[line] += 1
        if len(self.counts) > self.most:
            self.counts = Counter(dict(self.counts.most_common(self.most // 2)))

    @property
    def best(self) -> str | None:
        """The most frequent; of several the first in the alphabet, so that order plays no part."""
        return min(self.counts, key=lambda line: (-self.counts[line], line), default=None)


class LineTables:
    """What training files have where the holes are; knows the places before it reads.

    A line is kept with its indentation relative to the line before it.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._commonest: dict[str, Frequent] = {}
        self._previous: dict[tuple[str, str], Frequent] = {}
        self._pairs: dict[tuple[str, str, str], Frequent] = {}
        for place in places:
            before, behind = place.before.strip(), place.behind.strip()
            self._commonest.setdefault(place.language, Frequent())
            self._previous.setdefault((place.language, before), Frequent())
            self._pairs.setdefault((place.language, before, behind), Frequent())

    def read(self, language: str, text: str) -> None:
        """Count the lines of a training file."""
        commonest = self._commonest.get(language)
        if commonest is None:
            return
        for before, line, behind in _triples(text.split("\n")):
            if not worth_asking(line):
                continue
            key = (language, before.strip())
            previous, pair = self._previous.get(key), self._pairs.get((*key, behind.strip()))
            shifted = relative(line, before)
            commonest.add(shifted)
            if previous is not None:
                previous.add(shifted)
            if pair is not None:
                pair.add(shifted)

    def guesses(self, place: Place, others: Sequence[str]) -> dict[str, str]:
        """A line for the hole by each table; `others` are the pieces of its file around the hole.

        Empty where the file has no such line; the pair falls back to the line before, and that to
        the most frequent line.
        """
        key = (place.language, place.before.strip())
        commonest = self._commonest[place.language].best
        previous = self._previous[key].best or commonest
        pair = self._pairs[(*key, place.behind.strip())].best or previous
        own = Frequent()
        for before, line, _ in (one for piece in others for one in _triples(piece.split("\n"))):
            if before.strip() == key[1] and worth_asking(line):
                own.add(relative(line, before))
        found = zip(NAMES, (commonest, previous, pair, own.best), strict=True)
        return {name: "" if one is None else absolute(one, place.before) for name, one in found}


def relative(line: str, before: str) -> str:
    """A line with its indentation as a difference: `+` what is added, `-` what is taken away."""
    own, other = _indent(line), _indent(before)
    body = line.strip()
    if own.startswith(other):
        return f"+{own[len(other) :]}|{body}"
    if other.startswith(own):
        return f"-{other[len(own) :]}|{body}"
    return f"={own}|{body}"  # one with tabs, the other with blanks


def absolute(shifted: str, before: str) -> str:
    """The line that `relative` made a difference of, behind a line of any indentation."""
    change, _, body = shifted[1:].partition("|")
    indent = _indent(before)
    if shifted[0] == "+":
        return indent + change + body
    if shifted[0] == "-":
        return (indent.removesuffix(change) if indent.endswith(change) else "") + body
    return change + body


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _triples(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Every line that is not blank but the first, between its neighbours that are not; or "" last."""
    said = [line for line in lines if line.strip()]
    return zip(said, said[1:], [*said[2:], ""], strict=False)
