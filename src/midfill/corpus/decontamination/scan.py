"""What one file shares with benchmarks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.decontamination import Decontamination
from midfill.corpus.decontamination.index import Index
from midfill.corpus.decontamination.matcher import Found
from midfill.corpus.decontamination.words import fold, marks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One task of a benchmark, and the text of it that a file holds."""

    set: str
    task_id: str
    gram: str  # the words that were found, folded; the first that drop the file, if any do
    line: int  # of the file, from 1, in which they begin
    grams: int  # how many grams and short texts of this task the file holds
    drops: bool  # False: only the papers' rule would drop the file for it


def scan(
    text: str, index: Index, config: Decontamination, language: str | None = None
) -> list[Hit]:
    """Every task that the file shares text with: first those that drop it, then by line and name.

    `language` is one of the 338 names and says how comments are marked. Raises ConfigError where
    the index was made for another n.
    """
    return hits(text, find(text, index, language), index, config, index.active(config))


def find(text: str, index: Index, language: str | None = None) -> Found:
    """The rows of the index that the file holds, with their first lines."""
    return index.matcher.find(text, marks_of(language))


def hits(
    text: str, found: Found, index: Index, config: Decontamination, active: NDArray[np.bool_]
) -> list[Hit]:
    """The tasks behind the rows that `find` found in this text; `active` is the index's."""
    tasks: dict[int, tuple[bool, int, int]] = {}  # not dropping, line, row: the least is shown
    counts: dict[int, int] = {}
    for row, line in found.items():
        shown = (not bool(active[row]), line, row)
        for task in index.owned_by(row):
            tasks[task] = min(shown, tasks.get(task, shown))
            counts[task] = counts.get(task, 0) + 1
    texts = {row: index.text(row) for _, _, row in tasks.values()}  # many tasks share one
    made = [
        _hit(index, task, texts[row], line, counts[task], not idle)
        for task, (idle, line, row) in tasks.items()
    ]
    if config.substring:
        made += _substrings(text, index)
    return sorted(made, key=lambda hit: (not hit.drops, hit.line, hit.set, hit.task_id))


def _hit(index: Index, task: int, gram: str, line: int, grams: int, drops: bool) -> Hit:
    name, task_id = index.tasks[task]
    return Hit(set=name, task_id=task_id, gram=gram, line=line, grams=grams, drops=drops)


def _substrings(text: str, index: Index) -> Iterator[Hit]:
    """Whole benchmark texts in the file, white space as one space. Slow: one search for each."""
    pieces = fold(text).split()
    flat = " ".join(pieces)
    for whole, task in zip(index.texts, index.text_task.tolist(), strict=True):
        if (at := flat.find(whole)) >= 0:
            yield _hit(index, task, whole, _line(text, flat[:at].count(" ")), 1, True)


def _line(text: str, pieces: int) -> int:
    """The line in which the piece with this number begins."""
    for number, line in enumerate(text.splitlines(), 1):
        pieces -= len(fold(line).split())
        if pieces < 0:
            return number
    return 1
