"""What a repository becomes while it is read: documents, and a reason for everything else."""

from collections.abc import Iterable
from dataclasses import replace

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Document, Drop, Repository, Unread
from midfill.corpus.sources import names
from midfill.corpus.sources.decode import document
from midfill.corpus.sources.source import Reference
from midfill.corpus.sources.streams import Refused


class Collector:
    """Takes the files of one repository in any order; raises Refused where they are too much."""

    def __init__(self, reference: Reference, limits: ReadLimits, source: str) -> None:
        self._reference, self._limits, self._source = reference, limits, source
        self._documents: list[Document] = []
        self._unread: list[Unread] = []
        self._seen: set[str] = set()
        self._members = 0
        self._total = 0  # bytes

    def admit(self, name: bytes | str, size: int) -> str | None:
        """The path under which a file is taken, or None: it was refused, and counted."""
        return self._admit(name, size, names.clean(name, self._limits))

    def admit_page(self, path: str, size: int) -> str | None:
        """The same for the path of a web page, which is no path of a file."""
        return self._admit(path, size, names.clean_page(path, self._limits))

    def _admit(self, name: bytes | str, size: int, path: str | Drop) -> str | None:
        self._count()
        drop = None
        if isinstance(path, Drop):
            self.refuse(name, size, path)
            return None
        if path in self._seen:
            drop = Drop("duplicate_name")
        elif size > self._limits.file_bytes:
            drop = Drop("file_size", size)
        self._seen.add(path)
        if drop:
            self.refuse(path, size, drop)
        return None if drop else path

    def folder(self, name: bytes | str) -> None:
        """Count a folder, and its name where that is refused; folders give nothing else."""
        self._count()
        path = names.clean(name, self._limits)
        if isinstance(path, Drop):
            self.refuse(name, 0, path)

    def _count(self) -> None:
        self._members += 1
        if self._members > self._limits.members:
            raise Refused("members", self._limits.members)

    @property
    def root(self) -> str:
        """The one folder that holds everything, with its slash, or ""."""
        return names.common_root(list(self._seen))

    def add(self, path: str, data: bytes, stated: str | None = None) -> Document | None:
        """Take a file that was admitted; its document, if it gives one."""
        self._total += len(data)
        if self._total > self._limits.total_bytes:
            raise Refused("total_size", self._limits.total_bytes)
        found = document(self._reference.name, path, data, stated)
        if isinstance(found, Unread):
            self._unread.append(found)
            return None
        found.source = self._source
        found.stars, found.created = self._reference.stars, self._reference.created
        self._documents.append(found)
        return found

    def refuse(self, name: bytes | str, size: int, drop: Drop) -> None:
        """Count a file that is not read."""
        self._unread.append(Unread(names.shown(name), size, drop))

    def repository(self, *, strip: bool = False) -> Repository:
        """What was taken, sorted by path; `strip`: without the one folder that holds everything."""
        root = self.root if strip else ""
        for found in self._documents:
            found.path = found.path.removeprefix(root)
        unread = (replace(item, path=item.path.removeprefix(root)) for item in self._unread)
        return Repository(
            name=self._reference.name,
            documents=sorted(self._documents, key=lambda found: found.path),
            licence=self._reference.licence,
            unread=sorted(unread, key=lambda item: (item.path, item.drop.reason)),
        )


def unread(reference: Reference, size: int, drop: Drop, more: Iterable[Unread] = ()) -> Repository:
    """A repository that gave nothing, and why."""
    lost = [Unread("", size, drop), *more]
    return Repository(name=reference.name, licence=reference.licence, unread=lost)
