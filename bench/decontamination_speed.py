"""How fast files are searched for benchmark text, beside plain Python sets: one core.

    python bench/decontamination_speed.py [--texts FOLDER] [--megabytes 20] [--rounds 5]

    index        making the index of every benchmark below MIDFILL_DATA, once
    cached       reading the index that was made before
    stage        `decontaminate`: all words, code alone, comments alone; what drops is named
    scan         the same for a single file, every hit named
    words        the same index, all words only
    sets         a set of tuples of ten words and `re.findall`, what one writes first; on a tenth

Contenders take turns in every round. MB are 10^6 bytes of UTF-8, `cpu` is processor time.
`--texts` defaults to the interpreter's standard library.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
from encode_speed import source_texts

from midfill.config.corpus.decontamination import default
from midfill.corpus.decontamination import Index, decontaminate, scan
from midfill.corpus.decontamination.benchmarks import read
from midfill.corpus.record import Document


def plain_sets(index: Index) -> Callable[[str], bool]:
    """The first program that comes to mind."""
    word = re.compile(r"\w+")
    grams = {tuple(index.text(row).split(" ")) for row in range(len(index.gram_at))}

    def find(text: str) -> bool:
        words = word.findall(text.casefold())
        return any(tuple(words[i : i + 10]) in grams for i in range(len(words) - 9))

    return find


def each(find: Callable[[str], object]) -> Callable[[list[str]], object]:
    """The same for one text after the other."""
    return lambda texts: [find(text) for text in texts]


def document(text: str) -> Document:
    """A file as the stage gets it."""
    return Document(repo="r", path="a.py", text=text, size=0, sha256="", language="Python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, default=Path(os.__file__).parent)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    texts = source_texts(args.texts, args.megabytes)
    print(json.dumps(machine.describe() | {"busy_cores": round(machine.busy_cores(), 2)}))

    start, cpu = time.perf_counter(), time.process_time()
    items, _ = read(Path(os.environ["MIDFILL_DATA"]))
    index = Index.from_texts(items)
    row = {"texts": len(items), "grams": len(index.gram_at), "short_texts": len(index.text_at)}
    row |= {"seconds": round(time.perf_counter() - start, 1)}
    print(json.dumps({"index": row | {"cpu_seconds": round(time.process_time() - cpu, 1)}}))

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "index.npz"
        index.save(place)
        start = time.process_time()
        Index.load(place)
        print(json.dumps({"cached": {"cpu_seconds": round(time.process_time() - start, 2)}}))

    config, sets = default(), plain_sets(index)
    matcher = index.matcher
    contenders: dict[str, tuple[Callable[[list[str]], object], list[str]]] = {
        "stage": (lambda files: decontaminate(map(document, files), index, config), texts),
        "scan": (each(lambda text: scan(text, index, config, "Python")), texts),
        "words": (each(lambda text: matcher.find(text, ())), texts),
        "sets": (each(sets), texts[::10]),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, (find, files) in contenders.items():
            start, cpu = time.perf_counter(), time.process_time()
            find(files)
            times[name].append((time.perf_counter() - start, time.process_time() - cpu))
    for name, (_, files) in contenders.items():
        size = sum(len(text.encode()) for text in files) / 1e6
        wall, used = (statistics.median(column) for column in zip(*times[name], strict=True))
        rates = {"mb_per_s": round(size / wall, 1), "mb_per_cpu_s": round(size / used, 1)}
        print(json.dumps({name: {"megabytes": round(size, 1), "files": len(files)} | rates}))


if __name__ == "__main__":
    main()
