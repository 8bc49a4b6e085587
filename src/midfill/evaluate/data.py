"""The rows of a benchmark: of a known file (midfill.hub.rows), or of one the user names.

A known file must hold what its checksum says: a score over other rows is another score. The user's
own is taken as it is, and its own checksum goes into the results.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError, DownloadError
from midfill.hub import rows
from midfill.hub.datasets import DataFile, dataset, datasets


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one file, and the SHA-256 of their text."""

    rows: tuple[Mapping[str, Any], ...]
    version: str


def locate(name: str) -> Path | None:
    """The file of a benchmark, or None where it lies neither in MIDFILL_DATA nor in the cache."""
    return rows.locate(_known(name), rows.data_folder())


def load(name: str, *, fields: Iterable[str] = (), own: Path | None = None) -> Rows:
    """The rows of a benchmark, each with all of `fields`; from `own` where the user names a file.

    Raises DownloadError where the file is missing or holds something else, ConfigError where the
    user's own file has another form.
    """
    if own is not None:
        text = rows.unpacked(own)
        version = hashlib.sha256(text).hexdigest()
        return Rows(rows=_parsed(text, own, fields), version=version)
    file = _known(name)
    if (path := locate(name)) is None:
        raise _missing(file)
    text = rows.known_rows(file, path, _fetch(file, f"; or score your own rows: --data {path}"))
    return Rows(rows=_parsed(text, path, fields), version=file.content)


def _known(name: str) -> DataFile:
    if file := dataset(name):
        return file
    raise DownloadError(
        f"midfill knows no data for {name!r}",
        why=f"it knows {', '.join(file.name for file in datasets()[:12])} and others",
        fix=f"midfill evaluate {name} --data FILE.jsonl",
    )


def _missing(file: DataFile) -> DownloadError:
    home = rows.data_folder()
    looked = f"{rows.ENVIRONMENT} is not set"
    if home is not None:
        looked = f"{rows.benchmarks(home)} has no {file.path}"
    return DownloadError(
        f"the data of {file.name} is not on this disk",
        why=f"{looked}, and it has not been pulled",
        fix=_fetch(file),
    )


def _fetch(file: DataFile, more: str = "") -> str:
    if file.homes:
        return f"midfill pull {file.name}{more}"
    by_hand = "(it was made by hand, there is nothing to pull)"
    return f"{rows.ENVIRONMENT}=/a/folder/with/benchmarks {by_hand}"


def _parsed(text: bytes, path: Path, fields: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    needed = set(fields)
    parsed = []
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
        parsed.append(row)
    if not parsed:
        raise _bad_row(path, 1, "the file has no rows")
    return tuple(parsed)


def _bad_row(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(
        f"line {number} of {path} is no row of this benchmark",
        why=why,
        fix="one JSON object a line, with the fields of the original file",
    )
