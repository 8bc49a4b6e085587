"""Where models lie on this disk, and the marker that says one of them is whole.

    <cache>/models/<name>/           one folder per model; benchmarks/<name>/ alike
        model.safetensors, ...       its files; a real name always means whole and verified
        *.part                       unfinished, taken up again by the next pull
        midfill.json                 the marker, written last
    <cache>/locks/<name>.lock        held while that one is pulled

The marker lets a second start trust the files by their sizes: no network, no hashing.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from midfill.errors import DownloadError, ResourceError
from midfill.hub.catalogue import BundledSource, ModelEntry
from midfill.hub.progress import Progress, Report

MARKER = "midfill.json"
BLOCK = 1 << 20  # bytes read or written at a time
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """One verified file; `sha256` is None where its source states no checksum."""

    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A whole model: the `path` to load and its `files`, relative to its folder or absolute."""

    source: str
    path: str
    files: dict[str, KeptFile]
    commit: str | None = None  # of the hub's repository


def cache_folder() -> Path:
    """MIDFILL_CACHE, or the folder this system keeps a user's caches in. Raises ResourceError."""
    try:
        return _cache_folder()
    except (RuntimeError, OSError) as error:  # no home, or no current folder
        raise ResourceError(
            "there is no folder for models", why=str(error), fix="MIDFILL_CACHE=/a/folder/of/yours"
        ) from error


def _cache_folder() -> Path:
    if own := os.environ.get("MIDFILL_CACHE"):
        return Path(own).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "midfill"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "midfill"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "midfill" / "Cache"
    return Path.home() / ".cache" / "midfill"


def folder_of(entry: ModelEntry) -> Path:
    """The folder this model, or benchmark, is or would be stored in."""
    return cache_folder() / f"{entry.kind}s" / _file_name(entry)


def _file_name(entry: ModelEntry) -> str:
    return entry.name.replace("/", "--").replace(":", "--")


def stored(entry: ModelEntry) -> Path | None:
    """The path to load when the model lies here whole and verified, else None."""
    for source in entry.sources:
        if isinstance(source, BundledSource):
            return source.folder
    folder = folder_of(entry)
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        sizes = {folder / name: file["size"] for name, file in marker["files"].items()}
        whole = marker["expected"] == entry.sha256 and all(
            path.stat().st_size == size for path, size in sizes.items()
        )
        return folder / marker["path"] if whole and sizes else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no marker, a damaged one, or a file that is gone: not stored


def remember(entry: ModelEntry, kept: Kept) -> Path:
    """Write the marker and return the path to load."""
    folder = folder_of(entry)
    part = folder / (MARKER + ".part")
    text = json.dumps({"name": entry.name, "expected": entry.sha256, **asdict(kept)}, indent=1)
    part.write_text(text, encoding="utf-8")
    part.replace(folder / MARKER)
    return folder / kept.path


def forget(entry: ModelEntry) -> None:
    """Drop the marker: the model counts as absent until a pull has verified it again."""
    with disk_errors(entry):
        (folder_of(entry) / MARKER).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(entry: ModelEntry, report: Report) -> Iterator[Path]:
    """Hold the model's folder, made if need be, against other pulls of the same model."""
    from filelock import FileLock, Timeout

    folder = folder_of(entry)
    with disk_errors(entry):
        folder.mkdir(parents=True, exist_ok=True)
        locks = cache_folder() / "locks"
        locks.mkdir(exist_ok=True)
        lock = FileLock(locks / f"{_file_name(entry)}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Progress(label=f"waiting for another pull of {entry.name}", done_bytes=0))
            lock.acquire()
    try:
        with disk_errors(entry):
            folder.mkdir(exist_ok=True)
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # where nothing came, nothing stays
        lock.release()


def check_space(entry: ModelEntry, needed: int) -> None:
    """Raise ResourceError when the cache's disk has fewer than `needed` bytes left."""
    folder = folder_of(entry)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"{entry.name} does not fit on the disk",
            why=f"it needs {gigabytes(needed)}, {folder} has {gigabytes(free)} left",
            fix=f"MIDFILL_CACHE=/a/larger/disk midfill pull {entry.name}",
        )


@contextlib.contextmanager
def disk_errors(entry: ModelEntry) -> Iterator[None]:
    """Turn what the disk refuses into a ResourceError; errors of the network pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(entry) from error
        if error.errno in _CLOSED or _in_cache(error.filename):
            raise ResourceError(
                f"{entry.name} cannot be stored",
                why=f"{error.filename or cache_folder()}: {error.strerror}",
                fix=f"MIDFILL_CACHE=/a/folder/of/yours midfill pull {entry.name}",
            ) from error
        raise


def _in_cache(name: object) -> bool:
    """Whether a file name is the cache, in it, or a folder on the way to it."""
    if not isinstance(name, str | os.PathLike):
        return False
    path, cache = Path(os.fspath(name)).absolute(), cache_folder()
    return path.is_relative_to(cache) or cache.is_relative_to(path)


def check_writable() -> None:
    """Raise ResourceError where no model can be stored; leaves nothing behind."""
    cache = cache_folder()
    folders = (cache / "models", cache / "locks", cache, *cache.parents)
    made = [folder for folder in folders if not os.path.lexists(folder)]
    try:
        for folder in folders[:2]:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise ResourceError(
            f"{cache} cannot be written",
            why=error.strerror or str(error),
            fix="MIDFILL_CACHE=/a/folder/of/yours",
        ) from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def disk_full(entry: ModelEntry) -> ResourceError:
    """The error for a disk that filled up while `entry` was being written."""
    return ResourceError(
        f"the disk filled up while pulling {entry.name}",
        why=f"{cache_folder()} has no room for the rest; what is there is taken up again",
        fix=f"MIDFILL_CACHE=/a/larger/disk midfill pull {entry.name}",
    )


def sha256_of(path: Path, label: str, report: Report) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            report(Progress(label=label, done_bytes=done, total_bytes=total))
    return digest.hexdigest()


def damaged(entry: ModelEntry, file: str, *, found: str, stated: str) -> DownloadError:
    """The error for content that is not what its source states."""
    return DownloadError(
        f"{file} of {entry.name} arrived damaged and was deleted",
        why=f"its checksum is {found[:12]}..., it should be {stated[:12]}...",
        fix=f"midfill pull {entry.name}",
    )


def gigabytes(count: int) -> str:
    """A number of bytes for people: 1.12 GB, 98 MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
