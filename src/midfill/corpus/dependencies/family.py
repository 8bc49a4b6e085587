"""What a family of languages knows about imports, as the graph needs it.

A family looks at one repository at a time. `FAMILIES` in `families.py` lists them by language.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class File:
    """What resolution sees of a document."""

    path: str  # POSIX, relative to the repository
    text: str
    language: str | None


class Resolver(Protocol):
    """One family's view of one repository: its index of what each file provides."""

    def needs(self, file: File) -> Iterable[str]:
        """Paths of files in this repository that `file` depends on; repeats and itself may occur."""
        ...


# A family takes its own files (those of its languages) and all files of the repository by path,
# for configuration such as tsconfig.json or go.mod, and returns a resolver. It never raises on
# the content of a file.
Family = Callable[[Sequence[File], Mapping[str, File]], Resolver]
