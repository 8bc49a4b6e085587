"""A file on an index of packages, pinned by its checksum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """One file on an index, pinned by at least one checksum (hexadecimal)."""

    filename: str  # in the cache, too
    size: int | None  # bytes; None: not known
    sha256: str | None
    sha512: str | None = None
    url: str | None = None  # where it lies, instead of asking the index
    pool: str | None = None  # its path on a Debian mirror

    @property
    def algorithm(self) -> str:
        """The checksum that is compared."""
        return "sha256" if self.sha256 else "sha512"

    @property
    def digest(self) -> str:
        """Its value."""
        return self.sha256 or self.sha512 or ""

    def row(self) -> list[Any]:
        """What is needed to find and check the file in the cache."""
        return [self.filename, self.size, self.sha256, self.sha512]

    @classmethod
    def of(cls, row: Sequence[Any]) -> "PackedFile":
        """The inverse of `row`."""
        return cls(filename=row[0], size=row[1], sha256=row[2], sha512=row[3])


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch, and where it is listed."""

    index: str
    name: str  # of the package
    file: PackedFile
