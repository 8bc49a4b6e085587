"""The exchange: near-duplicates among all parts, found by sketches and verified on the texts.

Runs in one process: it holds the sketches of all repositories (25 numbers each), the names, sizes and
digests of all files, and of texts only those that are being compared.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus import table
from midfill.corpus.duplicates.decide import Removed, without_partner
from midfill.corpus.duplicates.exact import copies, remove_copies
from midfill.corpus.duplicates.run import near_duplicates
from midfill.corpus.duplicates.shingles import Hashes
from midfill.corpus.duplicates.sketch import Sketch, from_arrow, shingle_set
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
    sketches = [one for path in parts for one in _sketches(path)]
    rows: list[dict[str, Any]] = []
    gone: set[str] = set()
    unlike = 0
    if config.level != "file":

        def load_repository(name: str) -> Hashes:
            return shingle_set(texts.of(name), config)

        repos = [one for one in sketches if one.level == "repo"]
        removed = near_duplicates(repos, load_repository, config)
        rows += _rows("repo", removed)
        gone = set(removed)
        unlike = without_partner(removed, config.threshold)
    left = [file for file in texts.light if file.repo not in gone]
    before = copies(texts.light)
    same: Removed = {}
    if config.exact == "drop":
        same = {one: (kept, 1.0) for one, kept in remove_copies(left, config).items()}
        left = [file for file in left if file.id not in same]
    if config.level != "repo":
        places = {file.id: (file.repo, file.path) for file in left}

        def load_file(name: str) -> Hashes:
            return shingle_set(texts.of(*places[name]), config)

        files = [one for one in sketches if one.level == "file" and one.id in places]
        removed = near_duplicates(files, load_file, config)
        rows += _rows("file", removed)
        same = {one: removed.get(kept, (kept, 1.0)) for one, (kept, _) in same.items()}
        unlike += without_partner(removed, config.threshold)
        left = [file for file in left if file.id not in removed]
    rows += _rows("copy", same)
    after = copies(left)
    numbers = {
        "removed_repositories": len(gone),
        "removed_files": len(rows) - len(gone),
        "without_partner": unlike,
        "copies_before": {"files": before.files, "bytes": before.size},
        "copies_left": {"files": after.files, "bytes": after.size},
    }
    return rows, numbers


def _sketches(part: Path) -> Iterator[Sketch]:
    yield from from_arrow(table.read(part.with_suffix(".sketches.parquet")))


def _rows(level: str, removed: Removed) -> list[dict[str, Any]]:
    return [
        {"id": one, "level": level, "dup_of": kept, "jaccard": jaccard}
        for one, (kept, jaccard) in sorted(removed.items())
    ]
