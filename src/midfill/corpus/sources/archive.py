"""Archives: tar (plain or compressed by gzip, bzip2, xz, zstd), zip, and Debian source packages.

An archive is read in memory, member by member, and nothing is ever written under a name it gives.
Damage loses the archive as a whole, so that what is read never depends on how far a buffer went;
only the members of a zip, which are found one by one, are lost singly. Archives inside archives are
binary files like others. What the file is named decides only whether a folder's file is an archive;
how it is read is decided by its first bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import names, tarball, zipped
from midfill.corpus.sources.collect import Collector, unread
from midfill.corpus.sources.source import Reference
from midfill.corpus.sources.streams import Refused, Stream
from midfill.errors import CorpusError
from midfill.hub.progress import Report, silent

_ENDING = re.compile(
    r"\.(?:tar(?:\.(?:gz|bz2|xz|zst))?|tgz|tbz2?|txz|tzst|zip|whl|egg|jar|crate|nupkg)\Z", re.I
)
_LINK = 4096  # bytes of a link's target
_DSC = 1 << 20  # bytes of a .dsc file
PACKED = 4  # times that source code shrinks in an archive, roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSource:
    """An archive, or every archive below a folder; each is one repository.

    A Debian .dsc file stands for its upstream archive (.orig.tar.*, or the only .tar.* of a native
    package); the packaging (.debian.tar.*, .diff.gz) and further upstream parts are left out.
    """

    path: str
    kind: str = "archive"  # what documents state as their source
    strip: bool | None = None  # leave out the one top folder; None: where it is named like the file

    def prepare(self, report: Report = silent) -> None:
        """Nothing has to be fetched."""

    def references(self) -> Iterator[Reference]:
        """Each archive, by path."""
        base = Path(self.path)
        if base.is_file():
            yield self._reference(base, base.name)
            return
        if not base.is_dir():
            raise missing(self.path, "archive or folder of archives")
        described = {name for dsc in base.rglob("*.dsc") for name in _files_of(dsc, base)}
        for path in sorted(base.rglob("*")):
            wanted = path.suffix == ".dsc" or _ENDING.search(path.name)
            inside = path.relative_to(base).as_posix()
            if wanted and inside not in described and path.is_file():
                yield self._reference(path, inside)

    def _reference(self, path: Path, inside: str) -> Reference:
        found = path.stat()
        return Reference(
            name=f"{self.kind}/{inside}",
            bytes=PACKED * found.st_size,
            place=str(path),
            stamp=f"{found.st_size} {found.st_mtime_ns}",
        )

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """The archive's files."""
        path = Path(reference.place)
        try:
            if path.suffix == ".dsc":
                found = _upstream(path)
                if isinstance(found, Drop):
                    return unread(reference, path.stat().st_size, found)
                path = found
            with path.open("rb") as file:
                strip = path.name if self.strip is None else self.strip
                return read_archive(file, reference, limits, source=self.kind, strip=strip)
        except OSError as error:
            return unread(reference, 0, Drop("unreadable", error.strerror))


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return _ENDING.search(name) is not None


def missing(path: str, what: str) -> CorpusError:
    """The error for a source that is not there."""
    return CorpusError(
        f"there is no {what} {path}",
        why="nothing, or something else, lies there",
        fix="give the path of one that exists",
    )


def read_archive(
    file: BinaryIO, reference: Reference, limits: ReadLimits, *, source: str, strip: bool | str
) -> Repository:
    """The files of an open archive; one Unread for the whole where it cannot be trusted.

    `strip` leaves out the one top folder; a file's name: where the folder is named alike.
    """
    collector = Collector(reference, limits, source)
    size = file.seek(0, 2)
    file.seek(0)
    try:
        head = file.read(4)
        file.seek(0)
        if head in (b"PK\3\4", b"PK\5\6"):
            _collect_zip(file, collector, limits)
        else:
            _collect_tar(file, collector, limits)
    except Refused as refused:
        return unread(reference, size, refused.drop)
    if isinstance(strip, str):
        strip = _named_alike(collector.root, strip)
    return collector.repository(strip=strip)


def _named_alike(root: str, file_name: str) -> bool:
    """Whether `flask-3.1/` is the folder of `flask-3.1.tar.gz`; npm calls every one `package`."""
    plain = [re.sub(r"[^a-z0-9]", "", text.lower()) for text in (root, _ENDING.sub("", file_name))]
    return root == "package/" or (bool(plain[0]) and plain[1].startswith(plain[0]))


def _collect_tar(file: BinaryIO, collector: Collector, limits: ReadLimits) -> None:
    stream = Stream(file, limits)
    first = True
    try:
        for member in tarball.members(stream, limits):
            first = False
            _take_tar(member, collector)
    except Refused as refused:
        if first and refused.drop == Drop("damaged", tarball.NO_HEADER):
            raise Refused("format") from refused  # compressed or not, it is no tar archive
        raise


def _take_tar(member: tarball.Member, collector: Collector) -> None:
    if member.kind == "folder":
        collector.folder(member.name)
    elif path := collector.admit(member.name, member.size if member.data is None else 0):
        if member.kind in ("link", "hard_link"):
            drop = names.link(path, member.target, from_root=member.kind == "hard_link")
            collector.refuse(path, 0, drop)
        elif member.data is None:
            collector.refuse(path, member.size, Drop(member.kind))
        else:
            collector.add(path, member.data)


def _collect_zip(file: BinaryIO, collector: Collector, limits: ReadLimits) -> None:
    for entry in zipped.entries(file, limits):
        if entry.kind == "folder":
            collector.folder(entry.name)
        elif path := collector.admit(entry.name, entry.size):
            if entry.kind == "link":
                target = zipped.read(file, entry) if entry.size <= _LINK else Drop("link")
                drop = target if isinstance(target, Drop) else names.link(path, target)
                collector.refuse(path, entry.size, drop)
                continue
            data = zipped.read(file, entry) if entry.kind == "file" else Drop(entry.kind)
            if isinstance(data, Drop):
                collector.refuse(path, entry.size, data)
            else:
                collector.add(path, data)


def _fields(dsc: Path) -> list[tuple[str, int, str]]:
    """SHA-256, size and name of each file that a .dsc lists."""
    with dsc.open("rb") as file:
        text = file.read(_DSC).decode(errors="replace")
    block = re.search(r"^Checksums-Sha256:\s*\n((?:[ \t]+\S.*\n?)+)", text, re.M)
    lines = (line.split() for line in block[1].splitlines()) if block else ()
    return [
        (line[0], int(line[1]), line[2]) for line in lines if len(line) == 3 and line[1].isdecimal()
    ]


def _files_of(dsc: Path, base: Path) -> list[str]:
    """The listed files, relative to `base`: they are not repositories of their own."""
    try:
        return [(dsc.parent / name).relative_to(base).as_posix() for _, _, name in _fields(dsc)]
    except (OSError, ValueError):
        return []


def _upstream(dsc: Path) -> Path | Drop:
    """The upstream archive of a Debian source package, compared with its checksum."""
    listed = [line for line in _fields(dsc) if "/" not in line[2] and ".tar." in line[2]]
    original = [line for line in listed if ".orig.tar." in line[2]]
    native = [line for line in listed if ".debian.tar." not in line[2]]
    for digest, _, name in original or native:
        path = dsc.parent / name
        if not path.is_file():
            return Drop("absent", name)
        with path.open("rb") as file:
            if _sha256(file) != digest:
                return Drop("sha256", name)
        return path
    return Drop("format", "a .dsc without an upstream archive")


def _sha256(file: BinaryIO) -> str:
    digest = sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
