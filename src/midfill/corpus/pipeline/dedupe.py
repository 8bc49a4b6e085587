"""The exchange: near-duplicates among all parts, found by sketches and verified on the texts.

Runs in one process: it holds the sketches of all repositories (25 numbers each), the names, sizes and
digests of all files, and of texts only those that are being compared.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus import table
from midfill.corpus.duplicates.run import decisions, report
from midfill.corpus.duplicates.sketch import from_arrow
from midfill.corpus.record import Document

STAGE = "dedupe"
_LIGHT = ["repo", "path", "size", "sha256", "stars", "created"]


class Texts:
    """The texts of the cleaned parts, by repository or file."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = parts
        self._part_of: dict[str, int] = {}
        self.light: list[Document] = []  # every file, without its text
        for number, path in enumerate(parts):
            for row in table.read(path, _LIGHT).to_pylist():
                self.light.append(Document(**row, text=""))
                self._part_of[row["repo"]] = number

    def of(self, repo: str, path: str | None = None) -> list[str]:
        """The texts of a repository's files, or of one of them."""
        wanted = [("repo", "=", repo)] + ([] if path is None else [("path", "=", path)])
        return table.read(self._parts[self._part_of[repo]], ["text"], wanted)["text"].to_pylist()


def write(path: Path, parts: Sequence[Path], config: Duplicates) -> dict[str, Any]:
    """Write the list of what is removed of the cleaned parts; return what that came to."""
    rows, numbers = dedupe(parts, config)
    pa = table.arrow()
    text = ("id", "level", "dup_of")
    schema = pa.schema([*((name, pa.string()) for name in text), ("jaccard", pa.float64())])
    table.write(path, pa.Table.from_pylist(rows, schema))
    return numbers


def dedupe(
    parts: Sequence[Path], config: Duplicates
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is removed, each with what is kept instead, and numbers about it.

    Neither the order nor the number of parts matters.
    """
    texts = Texts(parts)
    sketches = [
        one
        for part in parts
        for one in from_arrow(table.read(part.with_suffix(".sketches.parquet")))
    ]
    made = decisions(texts.light, sketches, texts.of, config)
    gone = sorted((one for one in made if not one.keep), key=lambda one: (one.level, one.id))
    names = ("id", "level", "dup_of", "jaccard")
    rows = [{name: getattr(one, name) for name in names} for one in gone]
    numbers = asdict(report(texts.light, made, config))
    numbers["clusters"] = {str(size): count for size, count in numbers["clusters"].items()}
    return rows, numbers
