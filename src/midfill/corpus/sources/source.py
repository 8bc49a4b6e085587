"""What every kind of source can do: name its repositories, and read one of them.

A source is a small frozen description that travels to a worker process by pickle. The process that
builds the corpus calls `prepare` once and walks `references`; workers call `read`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Repository
from midfill.hub.progress import Report, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a part of a repository lies in a file that holds many."""

    file: str
    at: int  # byte offset, or number of a row group
    inner: int = 0  # byte offset within the compressed member that begins `at`


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One repository of a source: enough to read it elsewhere, and to balance the work."""

    name: str  # unique in the source, such as "pypi/flask-3.1.2"
    bytes: int  # estimated, unpacked
    place: str = ""  # path, or key of the package list
    spans: tuple[Span, ...] = ()
    stars: int | None = None
    created: str | None = None  # ISO date
    licence: str | None = None  # as stated for the whole repository
    stamp: str = ""  # another one where the content may have changed


class Source(Protocol):
    """A kind of place that repositories come from."""

    def prepare(self, report: Report = silent) -> None:
        """Fetch what is not on this disk yet. Raises UserError."""
        ...

    def references(self) -> Iterator[Reference]:
        """Every repository, in an order that depends on the source only. Raises CorpusError."""
        ...

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """Its text files, and a reason for everything else. Hostile content raises nothing."""
        ...
