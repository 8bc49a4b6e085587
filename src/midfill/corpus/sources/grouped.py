"""Files that hold the records of many repositories in any order: JSON Lines and WARC.

One pass notes where each repository's runs of records begin; a worker goes there. Records that
cannot be read belong to a repository of their own, one per file, so that they are counted.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources.archive import missing
from midfill.corpus.sources.collect import Collector, unread
from midfill.corpus.sources.source import Reference, Span
from midfill.corpus.sources.streams import Refused, Stream

_ENDLESS = 1 << 62  # a file of many repositories may be of any size
Where = tuple[int, int]


@dataclass(slots=True)
class Row:
    """One record: a file of a repository, or a web page."""

    key: str | None  # of its repository; None: the record cannot be read
    path: str
    data: bytes = b""
    drop: Drop | None = None  # why it has no data
    size: int = 0  # bytes, where they are not in `data`
    page: bool = False  # a web page, whose path is no file's
    encoding: str | None = None  # as stated beside the data
    language: str | None = None
    stars: int | None = None
    created: str | None = None
    licence: str | None = None


Rows = Callable[[Stream, ReadLimits], Iterator[tuple[Where, Row]]]
RowsOf = Callable[[str], Rows]  # by the name of the file


@dataclass(slots=True)
class Group:
    """What is known of a repository while its runs are noted."""

    bytes: int = 0
    spans: list[Span] = field(default_factory=list)
    stars: int | None = None
    created: str | None = None
    licence: str | None = None

    def note(self, size: int, stars: int | None, created: str | None, licence: str | None) -> None:
        """Add one row: most stars, earliest date, first licence."""
        self.bytes += size
        self.stars = max((n for n in (self.stars, stars) if n is not None), default=None)
        self.created = min((day for day in (self.created, created) if day), default=None)
        self.licence = self.licence or licence

    def reference(self, name: str, place: str) -> Reference:
        """The repository, all its rows noted."""
        return Reference(
            name=name,
            bytes=self.bytes,
            place=place,
            spans=tuple(self.spans),
            stars=self.stars,
            created=self.created,
            licence=self.licence,
        )


def files_of(path: str, endings: tuple[str, ...], what: str) -> list[Path]:
    """The file, or every file below the folder with one of these endings. Raises CorpusError."""
    base = Path(path)
    if base.is_file():
        return [base]
    found = sorted(each for each in base.rglob("*") if each.name.endswith(endings))
    if not found:
        raise missing(path, what)
    return found


def references(files: list[Path], kind: str, rows_of: RowsOf) -> Iterator[Reference]:
    """Each repository in the order of first appearance, then what could not be read."""
    groups: dict[str, Group] = {}
    lost: list[Reference] = []
    limits = ReadLimits()
    for path in files:
        damaged = Group()
        reason = _note(path, limits, rows_of(path.name), groups, damaged)
        if damaged.spans or reason:
            place = json.dumps([None, reason and [reason.reason, reason.value, str(path)]])
            name = f"{kind}/{path.name}#unreadable"
            lost.append(Reference(name=name, bytes=0, place=place, spans=tuple(damaged.spans)))
    for key, group in groups.items():
        yield group.reference(f"{kind}/{key}", json.dumps([key, None]))
    yield from lost


def _note(
    path: Path, limits: ReadLimits, rows: Rows, groups: dict[str, Group], damaged: Group
) -> Drop | None:
    """Note the runs of one file; why it could not be read to its end."""
    before: object = object()
    try:
        with path.open("rb") as file:
            for where, row in rows(Stream(file, limits, most=_ENDLESS), limits):
                group = damaged if row.key is None else groups.setdefault(row.key, Group())
                if row.key != before:
                    group.spans.append(Span(file=str(path), at=where[0], inner=where[1]))
                before = row.key
                group.note(len(row.data), row.stars, row.created, row.licence)
    except Refused as refused:
        return refused.drop
    except OSError as error:
        return Drop("unreadable", error.strerror)
    return None


def read(reference: Reference, limits: ReadLimits, kind: str, rows_of: RowsOf) -> Repository:
    """The records of one repository."""
    key, reason = json.loads(reference.place)
    collector = Collector(reference, limits, kind)
    try:
        for span in reference.spans:
            _collect(span, key, collector, limits, rows_of(Path(span.file).name))
    except Refused as refused:
        return unread(reference, reference.bytes, refused.drop)
    except OSError as error:
        return unread(reference, reference.bytes, Drop("unreadable", error.strerror))
    if reason:
        collector.refuse(Path(reason[2]).name, 0, Drop(reason[0], reason[1]))
    return collector.repository()


def _collect(
    span: Span, key: str | None, collector: Collector, limits: ReadLimits, rows: Rows
) -> None:
    found = _cursor.run(span, rows, limits)
    try:
        for row in itertools.takewhile(lambda row: row.key == key, found):
            _take(row, collector)
    except Refused as refused:
        if refused.drop.reason in ("total_size", "members"):
            raise
        # The file is damaged behind this run: that is counted once, for the file.


def _take(row: Row, collector: Collector) -> None:
    size = row.size or len(row.data)
    if row.key is None:
        collector.refuse(row.path, size, row.drop or Drop("damaged"))
        return
    path = collector.admit_page(row.path, size) if row.page else collector.admit(row.path, size)
    if path is None:
        return
    if row.drop:
        collector.refuse(path, size, row.drop)
    elif found := collector.add(path, row.data, row.encoding):
        found.language = row.language


class _Cursor:
    """The place where this process last read: the next repository usually begins right there.

    Without it, a compressed file that is one long member would be unpacked from its start for
    every repository. It changes what is fast, never what is read.
    """

    def __init__(self) -> None:
        self._file = ""
        self._rows: Iterator[tuple[Where, Row]] = iter(())
        self._next: tuple[Where, Row] | None = None
        self._close: Callable[[], None] = lambda: None

    def run(self, span: Span, rows: Rows, limits: ReadLimits) -> Iterator[Row]:
        """The records from `span` on; one that is not taken is kept for the next run."""
        self._go(span, rows, limits)
        while self._next is not None:
            yield self._next[1]
            self._advance()  # reached only when the record was taken

    def _go(self, span: Span, rows: Rows, limits: ReadLimits) -> None:
        state = Path(span.file).stat()
        file = f"{span.file}\0{state.st_mtime_ns}\0{state.st_size}\0{rows!r}\0{limits!r}"
        goal = (span.at, span.inner)
        here = self._next[0] if self._next else None
        # A member can be gone to directly, so walking pays only within one.
        walk = file == self._file and here and here <= goal and (here == goal or here[0] == span.at)
        if not walk:
            self._open(span, rows, limits)
            self._file = file
        while self._next and self._next[0] < goal:
            self._advance()

    def _open(self, span: Span, rows: Rows, limits: ReadLimits) -> None:
        self._close()
        self._file, self._next = "", None
        file = Path(span.file).open("rb")  # noqa: SIM115
        self._close = file.close
        file.seek(span.at)
        stream = Stream(file, limits, most=_ENDLESS)
        stream.skip(span.inner)
        self._rows = rows(stream, limits)
        self._advance()

    def _advance(self) -> None:
        self._next = None
        try:
            self._next = next(self._rows, None)
        except BaseException:
            self._file = ""  # what is left of the stream is of no use
            raise
        finally:
            if self._next is None:
                self._close()


_cursor = _Cursor()
