"""Reads the files that users bring: JSON lines, JSON or Parquet, compressed or not."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError, ResourceError

Row = dict[str, Any]
_FORMATS = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")


def need(path: Path | None, name: str, what: str) -> Path:
    """The path of the user's data, which must exist. Raises ConfigError."""
    if path is None:
        raise ConfigError(
            f"{name} has no data here",
            why="its data is not distributed with midfill",
            fix=f"--data PATH: {what}",
        )
    if not path.exists():
        raise ConfigError(f"{path} does not exist", why="nothing lies there", fix=f"give {what}")
    return path


def files_of(path: Path) -> list[Path]:
    """The file itself, or the data files of a folder in the order of their names."""
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(_FORMATS))
    if not found:
        raise ConfigError(
            f"{path} holds no data file",
            why=f"no file in it ends with {', '.join(_FORMATS)}",
            fix="give the file itself",
        )
    return found


def read_rows(path: Path) -> list[Row]:
    """All rows of one file. Raises ConfigError, or ResourceError where a package is missing."""
    if path.name.endswith(".parquet"):
        return _parquet(path)
    try:
        text = _text(path)
        if path.name.endswith((".json", ".json.gz")):
            return list(_of_json(json.loads(text)))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, EOFError, ValueError) as problem:
        raise ConfigError(
            f"{path} cannot be read", why=str(problem), fix="fetch the file again"
        ) from problem


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ConfigError."""
    try:
        value = json.loads(_text(path))
    except (OSError, EOFError, ValueError) as problem:
        raise ConfigError(
            f"{path} cannot be read", why=str(problem), fix="fetch the file again"
        ) from problem
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path} is in another form", why="it holds no JSON object", fix="fetch it again"
        )
    return value


def version_of(paths: Iterable[Path]) -> str:
    """SHA-256 of one file, or of the SHA-256 of several with their names."""
    sums = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    if len(sums) == 1:
        return next(iter(sums.values()))
    lines = (f"{found}  {path.name}\n" for path, found in sorted(sums.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require(rows: Iterable[Mapping[str, Any]], fields: Iterable[str], path: Path) -> None:
    """Raise ConfigError unless there are rows and each has the fields."""
    names, number = tuple(fields), 0
    for number, row in enumerate(rows, 1):  # `number` is looked at afterwards
        missing = [name for name in names if name not in row]
        if missing:
            raise ConfigError(
                f"{path} is in another form",
                why=f"row {number} has no {', '.join(missing)}; it has {', '.join(map(str, row))}",
                fix="give the file as its authors publish it",
            )
    if not number:
        raise ConfigError(f"{path} is empty", why="it has no rows", fix="fetch the file again")


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def _of_json(value: Any) -> Iterator[Row]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("it holds no list of objects")
    yield from value


def _parquet(path: Path) -> list[Row]:
    try:
        import pyarrow.parquet as parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ResourceError(
            f"{path} is a Parquet file",
            why="the package pyarrow is not installed",
            fix="pip install pyarrow",
        ) from None
    return parquet.read_table(path).to_pylist()
