"""Counts of files and bytes per stage, reason and language: what the report draws."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from midfill.corpus.record import Document, Unread

Rows = dict[str, list[int]]  # "stage\treason\tlanguage" -> [files, bytes]; no reason: went on


class Counts:
    """Files and bytes that each stage kept, or dropped for each reason, by language."""

    def __init__(self, rows: Mapping[str, Iterable[int]] | None = None) -> None:
        self._rows: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for key, values in (rows or {}).items():
            self._rows[key] = list(values)

    def add(self, stage: str, documents: Iterable[Document]) -> None:
        """Count documents as this stage left them."""
        for doc in documents:
            self._add(stage, doc.drop.reason if doc.drop else "", doc.language, doc.size)

    def add_unread(self, stage: str, unread: Iterable[Unread]) -> None:
        """Count files and archives that gave no document."""
        for one in unread:
            self._add(stage, one.drop.reason, None, one.size)

    def merge(self, other: Mapping[str, Iterable[int]]) -> None:
        """Add the rows of another count."""
        for key, (files, size) in other.items():
            row = self._rows[key]
            row[0] += files
            row[1] += size

    def rows(self) -> Rows:
        """The counts, in the order of their keys, for a note."""
        return dict(sorted(self._rows.items()))

    def table(self) -> list[dict[str, Any]]:
        """The counts as rows of stage, reason, language, files, bytes."""
        found = []
        for key, (files, size) in sorted(self._rows.items()):
            stage, reason, language = key.split("\t")
            row = {"stage": stage, "reason": reason or None, "language": language or None}
            found.append(row | {"files": files, "bytes": size})
        return found

    def _add(self, stage: str, reason: str, language: str | None, size: int) -> None:
        row = self._rows[f"{stage}\t{reason}\t{language or ''}"]
        row[0] += 1
        row[1] += size
