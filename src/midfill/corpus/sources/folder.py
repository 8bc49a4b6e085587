"""Folders of repositories: the files as they lie there, links never followed."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import names
from midfill.corpus.sources.archive import missing
from midfill.corpus.sources.collect import Collector, unread
from midfill.corpus.sources.source import Reference
from midfill.corpus.sources.streams import Refused
from midfill.hub.progress import Report, silent

_SKIPPED = {".git", ".hg", ".svn", ".bzr"}  # bookkeeping, not source: passed over uncounted
_KINDS = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Each folder in `path` is one repository; with `single`, `path` itself is the only one.

    Files that lie beside the repositories belong to none and are passed over.
    """

    path: str
    single: bool = False

    def prepare(self, report: Report = silent) -> None:
        """Nothing has to be fetched."""

    def references(self) -> Iterator[Reference]:
        """Each repository, by name."""
        base = Path(self.path)
        if not base.is_dir():
            raise missing(self.path, "folder")
        if self.single:
            name = base.resolve().name or "root"
            size, stamp = _measured(base)
            yield Reference(name=f"folder/{name}", bytes=size, place=str(base), stamp=stamp)
            return
        for name in sorted(os.fsencode(entry.name) for entry in os.scandir(base)):
            path = base / os.fsdecode(name)
            if path.is_dir() and path.name not in _SKIPPED:
                # A name that is no UTF-8 still needs one that can be printed.
                shown = names.shown(name)
                size, stamp = _measured(path)
                yield Reference(
                    name=f"folder/{shown}", bytes=size, place=os.fsdecode(name), stamp=stamp
                )

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """The files of one folder."""
        base = Path(self.path) if self.single else Path(self.path, reference.place)
        if not self.single and base.is_symlink():
            return unread(reference, 0, names.link(base.name, os.fsencode(base.readlink())))
        collector = Collector(reference, limits, "folder")
        try:
            for path, entry in _files(base, limits, collector):
                _take(path, entry, collector)
        except Refused as refused:
            return unread(reference, 0, refused.drop)
        except OSError as error:
            return unread(reference, 0, Drop("unreadable", error.strerror))
        return collector.repository()


def _measured(base: Path) -> tuple[int, str]:
    """Bytes of the files, as far as they can be counted, and a stamp of names, sizes and times."""
    total, stamps = 0, []
    if base.is_symlink():  # refused when it is read
        return 0, ""
    for folder, below, files in os.walk(base):
        below[:] = [name for name in below if name not in _SKIPPED]
        for name in files:
            try:
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118
            except OSError:
                continue
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
            path = os.fsencode(os.path.join(folder, name))  # noqa: PTH118
            stamps.append(b"%s\0%d\0%d" % (path, found.st_size, found.st_mtime_ns))
    return total, hashlib.sha256(b"\n".join(sorted(stamps))).hexdigest()


def _files(
    base: Path, limits: ReadLimits, collector: Collector
) -> Iterator[tuple[bytes, "os.DirEntry[bytes]"]]:
    """Everything but folders, with its path from `base`; deeper folders than allowed come once."""
    waiting = [b""]
    seen = 0
    while waiting:
        inside = waiting.pop()
        try:
            opened = os.scandir(os.path.join(os.fsencode(base), inside))  # noqa: PTH118
        except OSError as error:
            if not inside:
                raise
            collector.refuse(inside[:-1], 0, Drop("unreadable", error.strerror))
            continue
        with opened as found:
            for entry in found:
                seen += 1
                if seen > limits.members:
                    raise Refused("members", limits.members)
                path = inside + entry.name
                if (
                    not entry.is_dir(follow_symlinks=False)
                    or path.count(b"/") >= limits.path_depth
                    or len(path) > limits.path_bytes
                ):
                    yield path, entry
                elif os.fsdecode(entry.name) not in _SKIPPED:
                    waiting.append(path + b"/")


def _take(path: bytes, entry: "os.DirEntry[bytes]", collector: Collector) -> None:
    try:
        found = entry.stat(follow_symlinks=False)
        mode = stat.S_IFMT(found.st_mode)
        if mode == stat.S_IFDIR:
            collector.refuse(path, 0, Drop("path_depth"))
        elif taken := collector.admit(path, found.st_size):
            if mode == stat.S_IFLNK:
                target = os.readlink(entry.path)  # noqa: PTH115
                collector.refuse(taken, 0, names.link(taken, target))
            elif mode != stat.S_IFREG:
                collector.refuse(taken, 0, Drop(_KINDS.get(mode, "device")))
            else:
                collector.add(taken, _content(entry.path, found.st_size))
    except OSError as error:
        collector.refuse(path, 0, Drop("unreadable", error.strerror))


def _content(path: bytes, size: int) -> bytes:
    """The bytes of a regular file, even if another kind of file has taken its place since."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "no regular file")
        return file.read(size)  # what has been appended since is not read
