"""Parquet and JSON Lines with one row per file, in the column layouts of The Stack.

Version 1 (and StarCoderData, the-stack-smol): content, max_stars_repo_name, max_stars_repo_path.
Version 2: repo_name, path, blob_id; its public files hold no content, only the ids of it. The rows
that midfill writes itself are read, too. Which language a row states is not used: languages are
found again by one rule for all sources.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import grouped
from midfill.corpus.sources.collect import Collector, unread
from midfill.corpus.sources.grouped import Row, Where
from midfill.corpus.sources.source import Reference, Span
from midfill.corpus.sources.streams import Refused, Stream
from midfill.corpus.table import arrow
from midfill.errors import CorpusError
from midfill.hub.progress import Report, silent

COLUMNS = {  # what a row is made of: the columns that may hold it, the first that is there counts
    "text": ("content", "text"),
    "repo": ("max_stars_repo_name", "repo_name", "repository_name", "repo"),
    "path": ("max_stars_repo_path", "path", "file_path"),
    "licence": ("max_stars_repo_licenses", "detected_licenses", "licenses", "licence", "license"),
    "stars": ("max_stars_count", "star_events_count", "stars"),
    "created": ("gha_created_at", "created"),
    "size": ("size", "length_bytes"),
}
_NEEDED = ("text", "repo", "path")
_JSONL = tuple(f".jsonl{packed}" for packed in ("", ".gz", ".bz2", ".xz", ".zst"))
LONGEST_LINE = 128 << 20  # bytes of one JSON line


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """A .parquet or .jsonl file (also compressed by gzip, bzip2, xz, zstd), or a folder of them.

    Rows are grouped by repository; a file whose rows lie together by repository is read once, one
    in random order once per repository and row group.
    """

    path: str
    kind: str = "table"  # what documents state as their source

    def prepare(self, report: Report = silent) -> None:
        """Nothing has to be fetched."""

    def references(self) -> Iterator[Reference]:
        """Each repository, by first appearance; then, per file, the rows that cannot be read."""
        files = grouped.files_of(self.path, (".parquet", *_JSONL), "Parquet or JSONL file in")
        parquet = [path for path in files if path.suffix == ".parquet"]
        yield from _parquet_references(parquet, self.kind)
        lines = [path for path in files if path.suffix != ".parquet"]
        yield from grouped.references(lines, self.kind, _rows_of)

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """The files of one repository."""
        if reference.spans and reference.spans[0].file.endswith(".parquet"):
            return _read_parquet(reference, limits, self.kind)
        return grouped.read(reference, limits, self.kind, _rows_of)


def roles(names: list[str]) -> dict[str, str]:
    """The column that plays each role, of those that are there."""
    there = set(names)
    hits = (
        (role, next((n for n in spelled if n in there), None)) for role, spelled in COLUMNS.items()
    )
    return {role: name for role, name in hits if name}


def json_lines(stream: Stream) -> Iterator[tuple[Where, int, int, dict[str, Any] | None]]:
    """Where each line begins, its number in this reading, its bytes, and its object if it is one."""
    number = 0
    while True:
        where = stream.where()
        line, length = stream.line(LONGEST_LINE)
        if not length:
            return
        number += 1
        if not line.strip():
            continue
        try:
            row = json.loads(line) if length <= LONGEST_LINE else None
        except (ValueError, RecursionError):
            row = None
        yield where, number, length, row if isinstance(row, dict) else None


def json_rows(stream: Stream, limits: ReadLimits) -> Iterator[tuple[Where, Row]]:
    """The rows of JSON Lines."""
    for where, _, length, row in json_lines(stream):
        found = None if row is None else _row(row)
        # A line's number would depend on where reading began; its place does not.
        place = f"byte {where[0] + where[1]}"
        yield where, found or Row(None, place, drop=Drop("row"), size=length)


def _rows_of(_: str) -> grouped.Rows:
    return json_rows


def _row(row: dict[str, Any]) -> Row | None:
    columns = roles(list(row))
    text, repo, path = (row.get(columns.get(role, "")) for role in _NEEDED)
    if not (isinstance(text, str) and isinstance(repo, str) and repo and isinstance(path, str)):
        return None
    stars, created = row.get(columns.get("stars", "")), row.get(columns.get("created", ""))
    found = Row(repo, path, licence=_licence(row.get(columns.get("licence", ""))))
    found.stars = int(stars) if isinstance(stars, int | float) and 0 <= stars < 1e12 else None
    found.created = str(created)[:10] if created else None
    return with_text(found, text)


def with_text(row: Row, text: str) -> Row:
    """The row with a text that is decoded already, unless it holds half a surrogate pair."""
    try:
        row.data = text.encode()
    except UnicodeEncodeError:
        row.drop, row.size = Drop("encoding"), len(text)
    return row


def _licence(value: Any) -> str | None:
    """Several licences of one repository may each be chosen, as The Stack lists them: OR."""
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return " OR ".join(sorted({str(name) for name in names if name})) or None


def _opened(path: Path) -> tuple[Any, dict[str, str]]:
    """A Parquet file and the roles of its columns. Raises CorpusError."""
    try:
        file = arrow().parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise CorpusError(
            f"{path} cannot be read", why=str(error).splitlines()[0], fix="fetch the file again"
        ) from error
    columns = roles(file.schema_arrow.names)
    absent = [role for role in _NEEDED if role not in columns]
    if absent:
        wanted = " or ".join(COLUMNS[absent[0]])
        why = f"it has {', '.join(file.schema_arrow.names[:12])}"
        raise CorpusError(
            f"{path} has no column {wanted}",
            why=why + ("; The Stack v2 ships ids, not contents" if absent[0] == "text" else ""),
            fix="give files in the layout of The Stack with the contents in them",
        )
    return file, columns


def _parquet_references(files: list[Path], kind: str) -> Iterator[Reference]:
    groups: dict[str, grouped.Group] = {}
    for path in files:
        file, columns = _opened(path)
        for number in range(file.num_row_groups):
            _note_group(path, file, number, columns, groups)
    for key, group in groups.items():
        yield group.reference(f"{kind}/{key}", key)


def _note_group(
    path: Path, file: Any, number: int, columns: dict[str, str], groups: dict[str, grouped.Group]
) -> None:
    """Note the repositories of one row group, from its small columns."""
    small = {role: name for role, name in columns.items() if role not in ("text", "path")}
    rows = _columns(path, file, number, list(small.values())).to_pydict()
    described = file.metadata.row_group(number)
    average = described.total_byte_size // max(described.num_rows, 1)
    values = {
        role: rows.get(small.get(role, "")) or [None] * len(rows[small["repo"]]) for role in COLUMNS
    }
    span = Span(file=str(path), at=number)
    for key, size, stars, created, licence in zip(
        *(values[role] for role in ("repo", "size", "stars", "created", "licence")), strict=True
    ):
        group = groups.setdefault(key or "", grouped.Group())
        if not group.spans or group.spans[-1] != span:
            group.spans.append(span)
        size = average if size is None else int(size)
        group.note(size, stars, str(created)[:10] if created else None, _licence(licence))


def _columns(path: Path, file: Any, number: int, names: list[str]) -> Any:
    try:
        return file.read_row_group(number, columns=names)
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{path} is damaged in row group {number}",
            why=str(error).splitlines()[0],
            fix="fetch the file again",
        ) from error


def _read_parquet(reference: Reference, limits: ReadLimits, kind: str) -> Repository:
    collector = Collector(reference, limits, kind)
    try:
        for span in reference.spans:
            state = Path(span.file).stat()
            table, columns = _row_group(span.file, span.at, state.st_mtime_ns, state.st_size)
            _take_rows(table, columns, reference.place, collector)
    except Refused as refused:
        return unread(reference, reference.bytes, refused.drop)
    except CorpusError as error:
        return unread(reference, reference.bytes, Drop("damaged", error.why[:100]))
    except OSError as error:
        return unread(reference, reference.bytes, Drop("unreadable", error.strerror))
    return collector.repository()


@functools.lru_cache(maxsize=1)
def _row_group(path: str, number: int, _time: int, _size: int) -> tuple[Any, dict[str, str]]:
    """A row group with what documents are made of; the next repository is often in the same."""
    file, columns = _opened(Path(path))
    names = {role: columns[role] for role in _NEEDED}
    return _columns(Path(path), file, number, sorted(set(names.values()))), names


def _take_rows(table: Any, columns: dict[str, str], key: str, collector: Collector) -> None:
    import pyarrow.compute

    # A row without a repository belongs to the one named "".
    repo = pyarrow.compute.call_function("coalesce", [table.column(columns["repo"]), ""])
    table = table.set_column(table.schema.get_field_index(columns["repo"]), columns["repo"], repo)
    mine = table.filter(pyarrow.compute.field(columns["repo"]) == key)
    paths, texts = (mine.column(columns[role]) for role in ("path", "text"))
    for path, text in zip(paths, texts, strict=True):
        name, buffer = path.as_py(), text.as_buffer() if text.is_valid else b""
        size = len(buffer)
        if name is None or not text.is_valid:
            collector.refuse(name or "", size, Drop("row"))
        elif taken := collector.admit(name, size):
            collector.add(taken, bytes(buffer))
