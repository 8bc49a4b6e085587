"""How fast imports are found and resolved, per family of languages, beside full parsers.

    python bench/import_speed.py --archives FOLDER... [--megabytes 10] [--rounds 3] [--json]

FOLDER holds source archives (tar, zip) of any origin; they are read in memory, each is one
repository, of which the first 3 MB of text count, so that none dominates. `scan` is the time of a
family for its own files: making the resolver, reading imports, finding the files they name. The line
for all families weighs each by its share of all text read. Peers parse the same Python texts, in the
same run and in turn: `ast` of this interpreter, and tree-sitter where it is installed. MB/s are of
processor time, best round.
"""

import argparse
import ast
import hashlib
import json
import lzma
import os
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import machine
import order_table

from midfill.corpus.dependencies import File
from midfill.corpus.dependencies.families import FAMILIES
from midfill.corpus.dependencies.family import Family
from midfill.corpus.dependencies.python import imports
from midfill.corpus.languages import detect

Repository = tuple[list[File], dict[str, File]]  # the files of one family, and all files


def first_texts(path: Path, most: int) -> Iterator[tuple[str, str]]:
    """Path and text of the first files of an archive, up to `most` characters together."""
    for at, text in order_table.members(path.read_bytes()):
        most -= len(text)
        if most < 0:
            return
        yield at, text


def load(
    folders: Sequence[Path], most: int, most_of_one: int
) -> tuple[dict[Family, list[Repository]], dict[Family, int]]:
    """Repositories of each family, in an order by hash, and the characters of it in all of them.

    Of one family up to `most` characters are kept, of one archive `most_of_one` are read.
    """
    loaded: dict[Family, list[Repository]] = {}
    sizes: dict[Family, int] = {}
    paths = [one for folder in folders for one in folder.rglob("*") if one.is_file()]
    for path in sorted(paths, key=lambda one: hashlib.sha256(one.name.encode()).digest()):
        try:
            texts = list(first_texts(path, most_of_one))
        except (OSError, ValueError, tarfile.TarError, lzma.LZMAError, zipfile.BadZipFile):
            continue
        everything = {at: File(at, text, detect(at, text).language) for at, text in texts}
        own: dict[Family, list[File]] = {}
        for file in everything.values():
            family = FAMILIES.get(file.language or "")
            if family is not None:
                own.setdefault(family, []).append(file)
        for family, files in own.items():
            if sizes.get(family, 0) < most:
                loaded.setdefault(family, []).append((files, everything))
            sizes[family] = sizes.get(family, 0) + sum(len(file.text) for file in files)
    return loaded, sizes


def scan(family: Family, repositories: Sequence[Repository]) -> int:
    """The number of edges, with repeats."""
    edges = 0
    for own, everything in repositories:
        resolver = family(own, everything)
        edges += sum(len(list(resolver.needs(file))) for file in own)
    return edges


def parse_all(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            ast.parse(text)
        except (SyntaxError, ValueError):
            continue


def tree_sitter(texts: Sequence[str]) -> Callable[[], object] | None:
    """Parses all texts; None where tree-sitter is not installed."""
    try:
        import tree_sitter as library
        import tree_sitter_python
    except ImportError:
        return None
    parser = library.Parser(library.Language(tree_sitter_python.language()))
    return lambda: [parser.parse(text.encode()) for text in texts]


def measure(
    contenders: dict[str, tuple[int, Callable[[], object]]], rounds: int
) -> list[dict[str, Any]]:
    """Megabytes a second of processor time, the best of the rounds, contenders in turn."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, (_, run) in contenders.items():
            start = time.process_time()
            run()
            best[name] = min(best.get(name, 1e9), time.process_time() - start)
    return [
        {"what": name, "mb": round(size / 1e6, 1), "mb_per_s": round(size / 1e6 / best[name], 1)}
        for name, (size, _) in contenders.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=Path, nargs="+", required=True)
    parser.add_argument("--megabytes", type=float, default=10, help="of each family")
    parser.add_argument("--of-one", type=float, default=3, help="megabytes of one archive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)
    loaded, sizes = load(args.archives, int(args.megabytes * 1e6), int(args.of_one * 1e6))
    contenders: dict[str, tuple[int, Callable[[], object]]] = {}
    for family, repositories in loaded.items():
        size = sum(len(file.text.encode()) for own, _ in repositories for file in own)
        languages = sorted(name for name, one in FAMILIES.items() if one is family)
        contenders["scan " + ", ".join(languages)] = (
            size,
            lambda family=family, repositories=repositories: scan(family, repositories),
        )
    python = FAMILIES["Python"]
    texts = [file.text for own, _ in loaded.get(python, []) for file in own]
    size = sum(len(text.encode()) for text in texts)
    peers: dict[str, tuple[int, Callable[[], object]]] = {
        "read imports only, Python": (size, lambda: [imports(text) for text in texts]),
        "ast, Python": (size, lambda: parse_all(texts)),
    }
    if (parse := tree_sitter(texts)) is not None:
        peers["tree-sitter, Python"] = (size, parse)
    rows = measure(contenders | peers, args.rounds)
    weights = [sizes[family] / 1e6 for family in loaded]
    seconds = sum(mb / max(row["mb_per_s"], 0.1) for mb, row in zip(weights, rows, strict=False))
    overall = {"what": "scan, all families as they are mixed", "mb": round(sum(weights), 1)}
    rows.append(overall | {"mb_per_s": round(sum(weights) / max(seconds, 1e-9), 1)})
    for row in rows:
        text = f"{row['what']:60s} {row['mb']:8.1f} MB {row['mb_per_s']:8.1f} MB/s"
        print(json.dumps(row) if args.json else text)
    print(json.dumps(machine.describe() | {"load": os.getloadavg()}))


if __name__ == "__main__":
    main()
