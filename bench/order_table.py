"""The four orders of files on real packages: how often a dependency comes first, and how near.

    python bench/order_table.py --archives FOLDER [--packages 200] [--json]

FOLDER holds source archives of the pinned list (corpora/pypi_permissive_sdists_le5MB.json below
MIDFILL_DATA) under their own names; they are read in memory, nothing is built or run. Of every edge
of the dependency graph it is asked whether the needed file comes before its user in the sequence
of their component, and whether it also starts within 12, 48 or 400 KB in front of the user's start
(about 4K, 16K and 128K tokens). `acyclic` is the share of edges in no cycle that are put right.
"""

import argparse
import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine

from midfill.corpus.dependencies import File, depends_on
from midfill.corpus.dependencies.measure import WINDOWS, count

NATIVE = (".c", ".cc", ".cpp", ".pyx", ".rs", ".so", ".f90", ".go", ".cu")
SUFFIXES = {
    "Python": (".py", ".pyi"),
    "Cython": (".pyx", ".pxd"),
    "JavaScript": (".js", ".mjs", ".cjs"),
    "JSX": (".jsx",),
    "TypeScript": (".ts", ".tsx"),
    "Vue": (".vue",),
}
LANGUAGES = {suffix: language for language, those in SUFFIXES.items() for suffix in those}
CONFIGURATION = ("pyproject.toml", "setup.cfg", "package.json", "tsconfig.json", "jsconfig.json")


def archives(folder: Path) -> Iterator[tuple[dict[str, Any], list[tuple[str, str]]]]:
    """Rows of the pinned list with the text files of their archives, in an order by hash."""
    listed = Path(os.environ.get("MIDFILL_DATA", ".")) / "corpora"
    rows = json.loads((listed / "pypi_permissive_sdists_le5MB.json").read_text(encoding="utf-8"))
    rows.sort(key=lambda row: hashlib.sha256(row["filename"].encode()).hexdigest())
    for row in rows:
        path = folder / row["filename"]
        if not path.is_file():
            continue
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == row["sha256"]:
            yield row, list(members(content))
        else:
            print(f"{path}: not the pinned SHA-256", file=sys.stderr)


def members(content: bytes) -> Iterator[tuple[str, str]]:
    """Relative path and text of the files of an archive that are UTF-8."""
    for name, raw in raw_members(content):
        path = name.partition("/")[2]
        if not path or ".." in path.split("/") or b"\0" in raw:
            continue
        try:
            yield path, raw.decode("utf-8")
        except UnicodeDecodeError:
            continue


def raw_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()


def is_pure_python(texts: list[tuple[str, str]]) -> bool:
    paths = [path for path, _ in texts]
    return not any(path.endswith(NATIVE) for path in paths) and any(
        path.endswith("/__init__.py") for path in paths
    )


def as_files(texts: list[tuple[str, str]]) -> list[File]:
    """The files of languages that this table knows, and the configuration that they need."""
    return [
        File(path, text, LANGUAGES.get(Path(path).suffix))
        for path, text in texts
        if Path(path).suffix in LANGUAGES or path.rpartition("/")[2] in CONFIGURATION
    ]


def measured(files: list[File]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Bytes and dependencies of each file."""
    needs = depends_on(files)
    return {file.path: (len(file.text.encode()), needs[file.path]) for file in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--packages", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    packages = files_read = 0
    for _, texts in archives(args.archives):
        if packages == args.packages:
            break
        files = as_files(texts)
        count(measured(files), counts)
        packages += 1
        files_read += len(files)
    print(f"{packages} packages, {files_read} files")
    if args.json:
        print(json.dumps({how: dict(row) for how, row in counts.items()} | machine.describe()))
        return
    print("| order | dependency before its user | 12 KB | 48 KB | 400 KB | acyclic |")
    print("|---|--:|--:|--:|--:|--:|")
    for how, row in counts.items():
        shares = [100 * row[key] / max(row["edges"], 1) for key in ("before", *map(str, WINDOWS))]
        shares.append(100 * row["acyclic_before"] / max(row["acyclic"], 1))
        print(f"| `{how}` | " + " | ".join(f"{share:.1f}" for share in shares) + " |")
    row = counts["path"]
    cyclic = row["edges"] - row["acyclic"]
    print(f"{row['edges']} edges, {cyclic} of them in cycles")


if __name__ == "__main__":
    main()
