"""Whether anything of a benchmark is left in finished shards, by a program that shares no code.

    python bench/shards_clean.py OUT [--split train] [--every 1] [--json]

Decodes the documents of `midfill corpus build --out OUT`, undoes their holes, and looks for every
solution of HumanEval and MBPP and every 10-gram of all benchmarks with plain sets
(`tests/corpus_bruteforce.py`). Documents are made of files; what only their join makes is told apart.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import machine

from midfill.corpus.shards import TokenShards
from midfill.tokenizer.holes import undone
from midfill.tokenizer.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import corpus_bruteforce as brute


def texts(out: Path, split: str, every: int) -> Iterator[str]:
    """Every so-manieth document of a split, as it was before encoding."""
    tokenizer = Tokenizer.from_folder(out / "tokenizer")
    table = [tokenizer.token_bytes(i) for i in range(tokenizer.rows)]
    for number, ids in enumerate(TokenShards.open(out).documents(split)):
        if number % every:
            continue
        inner = ids[1:-1].tolist()
        if tokenizer.fim is not None and (parts := undone(inner, tokenizer.fim)):
            inner = [token for part in parts for token in part]
        yield b"".join(map(table.__getitem__, inner)).decode()


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    known = brute.benchmarks(Path(os.environ["MIDFILL_DATA"]))
    start = time.perf_counter()
    documents = size = 0
    found: Counter[str] = Counter()
    shown: list[tuple[str, str]] = []
    every = texts(args.out, args.split, args.every)
    while batch := list(itertools.islice(every, 1000)):
        documents += len(batch)
        size += sum(map(len, batch))
        for number, task, words in brute.remaining(batch, known):
            kind = "solution" if tuple(words.split()) in known.solutions else "gram"
            found[kind] += 1
            shown.append((f"{task} in {batch[number][:60]!r}", words))
    row = {"documents": documents, "characters": size, "solutions": found["solution"]}
    row |= {"grams": found["gram"], "seconds": round(time.perf_counter() - start, 1)}
    if args.json:
        print(json.dumps(row | {"found": shown[:100]} | machine.describe()))
        return
    print(row)
    for task, words in shown[:100]:
        print(f"  {task}: {words}")


if __name__ == "__main__":
    main()
