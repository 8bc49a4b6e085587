"""Lists of packages on public indexes, pinned by name, version and checksum.

A list is a JSON array of objects: `name`, `version`, `licence`, `index` (pypi, npm or debian; it
may be left out where the list is used as one index's), and either `filename`, `sha256` (or
`sha512`), `size` and perhaps `url`, or `files`: a list of such objects, with `path` in the archive
of Debian. The first file is the one that is read. Nothing that is fetched is built or imported.

    <cache>/pypi/flask-3.1.2.tar.gz     whole and verified, whatever else lies there
    <cache>/pypi/flask-3.1.2.tar.gz.part    unfinished, taken up again
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from midfill.config.corpus.sources import Fetching, ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import fetch
from midfill.corpus.sources.archive import PACKED, missing, read_archive
from midfill.corpus.sources.collect import unread
from midfill.corpus.sources.packed import PackedFile, Wanted
from midfill.corpus.sources.source import Reference
from midfill.errors import CorpusError
from midfill.hub.progress import Report, silent

INDEXES = ("pypi", "npm", "debian")
PINNED = ("npm", "debian")  # lists that come with this package


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One line of a list."""

    index: str
    name: str
    version: str
    file: PackedFile
    licence: str | None = None  # as the index states it
    language: str | None = None  # that most of it is written in, where the list says so

    @property
    def id(self) -> str:
        """Such as pypi/flask-3.1.2."""
        return f"{self.index}/{self.name}-{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageList:
    """The packages of a list: a path, or the name of a list that comes with midfill."""

    path: str
    index: str | None = None  # for lists that do not say it
    skip: tuple[str, ...] = ()  # names left out, such as repositories that a benchmark is made of
    fetching: Fetching = field(default_factory=Fetching)

    def packages(self) -> list[Package]:
        """The list in its own order. Raises CorpusError."""
        rows = _rows(self.path)
        found = [self._package(row, number) for number, row in enumerate(rows, 1)]
        twice = _first_twice([package.id for package in found])
        if twice:
            raise _bad(self.path, f"{twice} is listed twice")
        return [package for package in found if package.name not in self.skip]

    def _package(self, row: Any, number: int) -> Package:
        try:
            return _package(row, self.index)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise _bad(self.path, f"line of package {number}: {why}") from error

    def prepare(self, report: Report = silent) -> None:
        """Fetch every file that is not in the cache yet. Raises DownloadError, ResourceError."""
        wanted = [(package.index, package.name, package.file) for package in self.packages()]
        fetch.fetch_all([Wanted(*each) for each in wanted], self.fetching, report)

    def references(self) -> Iterator[Reference]:
        """Each package, in the order of the list."""
        for package in self.packages():
            yield Reference(
                name=package.id,
                bytes=PACKED * (package.file.size or 0),
                place=json.dumps([package.index, *package.file.row()]),
                licence=package.licence,
            )

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """The files of a package that lies in the cache; its checksum is compared first."""
        index, *row = json.loads(reference.place)
        wanted = PackedFile.of(row)
        path = fetch.cached(index, wanted.filename, self.fetching)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, wanted.algorithm).hexdigest()
                if digest != wanted.digest:
                    return unread(reference, path.stat().st_size, Drop(wanted.algorithm))
                return read_archive(file, reference, limits, source=index, strip=True)
        except FileNotFoundError:
            return unread(reference, wanted.size or 0, Drop("absent"))
        except OSError as error:
            return unread(reference, wanted.size or 0, Drop("unreadable", error.strerror))


def _rows(path: str) -> list[Any]:
    try:
        if path in PINNED:
            text = (resources.files("midfill.corpus") / "lists" / f"{path}.json").read_text("utf-8")
        else:
            text = Path(path).read_text(encoding="utf-8")
        rows = json.loads(text)
    except OSError as error:
        raise missing(path, "list of packages") from error
    except ValueError as error:
        raise _bad(path, f"it is no JSON ({error})") from error
    if not isinstance(rows, list):
        raise _bad(path, "it is no JSON array")
    return rows


def _bad(path: str, why: str) -> CorpusError:
    return CorpusError(
        f"the list of packages {path} cannot be used",
        why=why,
        fix="give each package name, version, filename and sha256 (or sha512)",
    )


def _package(row: dict[str, Any], index: str | None) -> Package:
    index = row.get("index", index)
    if index not in INDEXES:
        raise ValueError(f"index is {index!r}, it can be {', '.join(INDEXES)}")
    file = row["files"][0] if "files" in row else row
    packed = PackedFile(
        filename=_file_name(str(file.get("filename") or file["path"].rpartition("/")[2])),
        size=None if file.get("size") is None else int(file["size"]),
        sha256=_hex(file.get("sha256"), 64),
        sha512=_hex(file.get("sha512"), 128),
        url=file.get("url"),
        pool=file.get("path"),
    )
    if not (packed.sha256 or packed.sha512):
        raise ValueError("no sha256 and no sha512")
    if index == "debian" and not (packed.pool or packed.url):
        raise KeyError("path")
    name, version = str(row["name"]), str(row["version"])
    licence, language = row.get("licence"), row.get("language")
    return Package(
        index=index, name=name, version=version, file=packed, licence=licence, language=language
    )


def _file_name(name: str) -> str:
    if not name or name.startswith(".") or set(name) & set("/\\\0:") or not name.isprintable():
        raise ValueError(f"{name!r} is no file name")
    return name


def _hex(text: Any, length: int) -> str | None:
    if text is None:
        return None
    text = str(text).lower()
    if len(text) != length or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{text[:20]}... is no checksum of {length} hexadecimal digits")
    return text


def _first_twice(ids: list[str]) -> str | None:
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            return each
        seen.add(each)
    return None
