"""One text of one task of a benchmark, as an index is made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from midfill.errors import CorpusError

# "program": code of a task that solves nothing, as a buggy one; "data": values of tests, no words of
# anyone's, so that a short one, such as `true false false`, is in every other file.
Kind = Literal["text", "solution", "program", "test", "data"]


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One text of one task."""

    set: str
    task_id: str
    kind: Kind
    text: str
    language: str = "Python"  # of a solution: how its comments are marked


def as_items(texts: Iterable[Item | tuple[str, str, str]]) -> Iterator[Item]:
    """Items, or triples of set, task and text, which are taken for solutions."""
    for text in texts:
        item = text if isinstance(text, Item) else Item(text[0], text[1], "solution", text[2])
        if not isinstance(item.text, str):
            raise CorpusError(
                f"the text of {item.set} {item.task_id} is a {type(item.text).__name__}",
                why="only words can be looked for",
                fix="give (set, task, text), all three strings",
            )
        yield item
