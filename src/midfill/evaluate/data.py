"""Where a benchmark's rows come from: a folder of the user, the cache that `midfill pull` fills.

MIDFILL_DATA names the folder that holds `benchmarks/`, or `benchmarks` itself. A known file must
hold what its checksum says, or it is refused: a score over other rows is another score. A file the
user names himself is taken as it is, and its own checksum goes into the results.
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError, DownloadError
from midfill.hub import store
from midfill.hub.datasets import DataFile, dataset, datasets

ENVIRONMENT = "MIDFILL_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one file, and the SHA-256 of their text."""

    rows: tuple[Mapping[str, Any], ...]
    version: str


def folder() -> Path | None:
    """The folder of benchmarks that MIDFILL_DATA names, whether it exists or not."""
    if not (named := os.environ.get(ENVIRONMENT)):
        return None
    path = Path(named).expanduser()
    return path / "benchmarks" if (path / "benchmarks").is_dir() else path


def locate(name: str) -> Path | None:
    """The file of a benchmark, or None where it lies neither in MIDFILL_DATA nor in the cache."""
    file = _known(name)
    places = [home / file.path] if (home := folder()) else []
    places += [place.with_suffix("") for place in places]  # not compressed
    if pulled := store.stored(file.entry):
        places.append(pulled)
    return next((place for place in places if place.is_file()), None)


def load(name: str, *, fields: Iterable[str] = (), own: Path | None = None) -> Rows:
    """The rows of a benchmark, each with all of `fields`; from `own` where the user names a file.

    Raises DownloadError where the file is missing or holds something else, ConfigError where the
    user's own file has another form.
    """
    if own is not None:
        text = _text(own)
        return Rows(rows=_parsed(text, own, fields), version=_sha256(text))
    file = _known(name)
    if (path := locate(name)) is None:
        raise _missing(file)
    text = _text(path)
    if (found := _sha256(text)) != file.content:
        raise DownloadError(
            f"{path} is not the {file.name} midfill knows",
            why=f"the SHA-256 of its rows is {found[:12]}..., it should be {file.content[:12]}...",
            fix=_fetch(file, f"; or score your own rows: --data {path}"),
        )
    return Rows(rows=_parsed(text, path, fields), version=found)


def _known(name: str) -> DataFile:
    if file := dataset(name):
        return file
    raise DownloadError(
        f"midfill knows no data for {name!r}",
        why=f"it knows {', '.join(file.name for file in datasets()[:12])} and others",
        fix=f"midfill evaluate {name} --data FILE.jsonl",
    )


def _missing(file: DataFile) -> DownloadError:
    home = folder()
    looked = f"{ENVIRONMENT} is not set" if home is None else f"{home} has no {file.path}"
    return DownloadError(
        f"the data of {file.name} is not on this disk",
        why=f"{looked}, and it has not been pulled",
        fix=_fetch(file),
    )


def _fetch(file: DataFile, more: str = "") -> str:
    if file.homes:
        return f"midfill pull {file.name}{more}"
    return (
        f"{ENVIRONMENT}=/a/folder/with/benchmarks (it was made by hand, there is nothing to pull)"
    )


def _text(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise DownloadError(
            f"{path} cannot be read", why=str(error) or type(error).__name__, fix=f"ls -l {path}"
        ) from error


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _parsed(text: bytes, path: Path, fields: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    needed = set(fields)
    rows = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _bad_row(path, number, f"it is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise _bad_row(path, number, "it is no JSON object")
        if absent := sorted(needed - set(row)):
            raise _bad_row(path, number, f"it has no {', '.join(absent)}")
        rows.append(row)
    if not rows:
        raise _bad_row(path, 1, "the file has no rows")
    return tuple(rows)


def _bad_row(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(
        f"line {number} of {path} is no row of this benchmark",
        why=why,
        fix="one JSON object a line, with the fields of the original file",
    )
