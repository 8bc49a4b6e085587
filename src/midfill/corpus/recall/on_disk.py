"""What would not fit into memory: values by address in a file that nobody else sees."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class OnDisk(MutableMapping[str, T], Generic[T]):
    """Values by address, sorted by it; memory holds the addresses and where each value begins.

    The file has no name, so it is gone with the process however that ends. A value that is replaced
    or deleted still takes its place in it.
    """

    def __init__(
        self, folder: Path | None, to_bytes: Callable[[T], bytes], value: Callable[[bytes], T]
    ) -> None:
        self._to_bytes, self._value = to_bytes, value
        self._places: dict[str, tuple[int, int]] = {}
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def __getitem__(self, url: str) -> T:
        start, size = self._places[url]
        self._file.seek(start)
        return self._value(self._file.read(size))

    def __setitem__(self, url: str, value: T) -> None:
        data = self._to_bytes(value)
        self._places[url] = (self._file.seek(0, os.SEEK_END), len(data))
        self._file.write(data)

    def __delitem__(self, url: str) -> None:
        del self._places[url]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places))

    def __len__(self) -> int:
        return len(self._places)


def texts(folder: Path | None = None) -> OnDisk[str]:
    """Texts, with any half surrogates."""
    return OnDisk(folder, to_utf8, lambda data: data.decode("utf-8", "surrogatepass"))


def to_utf8(text: str) -> bytes:
    """A text as its bytes; half surrogates are kept."""
    return text.encode("utf-8", "surrogatepass")
