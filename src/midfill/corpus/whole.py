"""Files that are there whole or not at all: written under a temporary name, synced, renamed.

The temporary name holds the process, so that two that write the same file do not mix their bytes.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file written under a temporary name, which takes its own when it is whole."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write a JSON file that is there whole or not at all; equal values give equal bytes."""
    with replacing(path) as file:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        # Half a surrogate pair, as in a path that is no UTF-8, becomes the escape that JSON has for it.
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")


def write_sealed(path: Path, value: Mapping[str, Any]) -> dict[str, Any]:
    """Write an object with a digest of itself, in its field `seal`; return it."""
    sealed = {**value, "seal": key_of(value)}
    write_json(path, sealed)
    return sealed


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The object that `write_sealed` wrote there; None where it is gone, or anything was changed."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    rest = {name: one for name, one in value.items() if name != "seal"}
    return value if value.get("seal") == key_of(rest) else None


def key_of(*parts: object) -> str:
    """A short name for values; equal where all of them are equal."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def sha256_of(path: Path) -> str | None:
    """SHA-256 of a file's bytes, hex; None where they cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
