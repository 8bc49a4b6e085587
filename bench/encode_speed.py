"""How fast text becomes ids, beside the libraries: one thread, source files as they come.

    python bench/encode_speed.py TOKENIZER_FOLDER... [--texts FOLDER] [--megabytes 20] [--rounds 5]

    midfill      FastEncoder, first with an empty memory of words ("cold"), then as it is left
    tokenizers   encode of the same tokenizer file, one text at a time, one thread
    kitoken      the same file, where `pip install kitoken` was done

Contenders take turns in every round. MB are 10^6 bytes of UTF-8, `cpu` is processor time, which
depends less than the clock on what else this machine does. Ids are compared. tiktoken is left out:
it takes one regex and tokens numbered in the order of merging, and no DeepSeek tokenizer is so.
`--texts` defaults to the interpreter's standard library.
"""

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import machine
import numpy as np
import tokenizers

from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.tokenizer import Tokenizer

os.environ["TOKENIZERS_PARALLELISM"] = "false"
Encode = Callable[[str], Sequence[int]]
SUFFIXES = {".py", ".c", ".h", ".js", ".ts", ".java", ".go", ".rs", ".md", ".rst", ".txt", ".json"}


def source_texts(folder: Path, megabytes: float) -> list[str]:
    """Source files in the order of their names, until there are so many bytes."""
    texts, left = [], megabytes * 1e6
    for path in sorted(folder.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        raw = path.read_bytes()
        try:
            texts.append(raw.decode())
        except UnicodeDecodeError:
            continue
        left -= len(raw)
        if left < 0:
            break
    return texts


def contenders(folder: Path) -> dict[str, Callable[[], Encode]]:
    """Each makes a fresh encoder."""
    ours = Tokenizer.from_folder(folder)
    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))

    def library(text: str) -> list[int]:
        return plain.encode(text, add_special_tokens=False).ids

    made: dict[str, Callable[[], Encode]] = {
        "midfill": lambda: FastEncoder(ours).encode,
        "tokenizers": lambda: library,
    }
    if importlib.util.find_spec("kitoken"):
        other: Any = importlib.import_module("kitoken").Kitoken.from_file(
            str(folder / "tokenizer.json")
        )
        made["kitoken"] = lambda: lambda text: other.encode(text, False)
    return made


def measure(folder: Path, texts: list[str], rounds: int) -> dict[str, Any]:
    """Megabytes a second of each contender, and whether the ids are ours."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    made = contenders(folder)
    encoders = {name: make() for name, make in made.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in [*encoders, "midfill cold"]}
    for _ in range(rounds):
        for name in times:
            encode = made["midfill"]() if name == "midfill cold" else encoders[name]
            start, cpu = time.perf_counter(), time.process_time()
            for text in texts:
                encode(text)
            times[name].append((time.perf_counter() - start, time.process_time() - cpu))
    ids = {name: [np.asarray(encode(t)) for t in texts] for name, encode in encoders.items()}
    equal = {name: sum(map(np.array_equal, lists, ids["midfill"])) for name, lists in ids.items()}
    return {
        "tokenizer": folder.name,
        "files": len(texts),
        "megabytes": round(size, 1),
        "mb_per_s": {
            n: round(size / statistics.median(t for t, _ in ts), 1) for n, ts in times.items()
        },
        "mb_per_cpu_s": {
            n: round(size / statistics.median(c for _, c in ts), 1) for n, ts in times.items()
        },
        "files_with_our_ids": equal,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--texts", type=Path, default=Path(os.__file__).parent)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    texts = source_texts(args.texts, args.megabytes)
    print(json.dumps(machine.describe() | {"busy_cores": round(machine.busy_cores(), 2)}))
    for folder in args.folders:
        print(json.dumps(measure(folder, texts, args.rounds)))


if __name__ == "__main__":
    main()
