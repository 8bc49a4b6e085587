"""Where the rows of a benchmark lie: a folder of the user, the cache that `midfill pull` fills.

MIDFILL_DATA names the folder that holds `benchmarks/`, or `benchmarks` itself. A known file must
hold what its checksum says, or it is refused: other rows are another benchmark.
"""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from midfill.errors import DownloadError
from midfill.hub import store
from midfill.hub.datasets import DataFile

ENVIRONMENT = "MIDFILL_DATA"


def data_folder() -> Path | None:
    """The folder that MIDFILL_DATA names, whether it exists or not."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser() if named else None


def benchmarks(folder: Path) -> Path:
    """`benchmarks` inside a folder; the folder itself where there is none."""
    inside = folder / "benchmarks"
    return inside if inside.is_dir() else folder


def locate(file: DataFile, folder: Path | None) -> Path | None:
    """The file, packed or not, in `folder` or in the cache; None where it lies in neither."""
    places = [] if folder is None else [benchmarks(folder) / file.path]
    places += [place.with_suffix("") for place in places]  # not compressed
    if pulled := store.stored(file.entry):
        places.append(pulled)
    return next((place for place in places if place.is_file()), None)


def unpacked(path: Path) -> bytes:
    """The bytes of a file, without gzip around them. Raises DownloadError."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise DownloadError(
            f"{path} cannot be read", why=str(error) or type(error).__name__, fix=f"ls -l {path}"
        ) from error


def known_rows(file: DataFile, path: Path, fix: str) -> bytes:
    """The rows at `path`, which are those of `file`. Raises DownloadError, with `fix`, for others."""
    text = unpacked(path)
    if (found := hashlib.sha256(text).hexdigest()) != file.content:
        raise DownloadError(
            f"{path} is not the {file.name} midfill knows",
            why=f"the SHA-256 of its rows is {found[:12]}..., it should be {file.content[:12]}...",
            fix=fix,
        )
    return text
