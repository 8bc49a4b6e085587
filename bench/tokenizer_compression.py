"""Bytes per token by language: vocabularies trained here beside DeepSeek's and the GPT family's.

    python bench/tokenizer_compression.py ARCHIVES... --beside FOLDER_OR_RANKS... [--megabytes 6]

ARCHIVES are folders of source archives, as a corpus build keeps in its cache. Half of them, by the
hash of their names, train the vocabularies; a sample of the other half, as much of each language, is
what all are measured on. `--beside` takes what `midfill tokenizer compare` takes. Prints one JSON
line for each vocabulary that was trained, then one with the table.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from midfill.corpus.sources.archive import is_archive
from midfill.terminal.tokenizer_load import vocabulary_of
from midfill.terminal.tokenizer_texts import Texts
from midfill.tokenizer.compression import as_records, measure
from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.sample import draw
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import train

LARGEST = 3 << 20  # bytes of an archive: one large project must not be the corpus
OURS = (
    ("V1's cut, 32,000", "deepseek-coder", 32_000),
    ("V2's cut, 32,000", "deepseek-llm", 32_000),
    ("Qwen's cut, 32,000", "qwen2", 32_000),
    ("V2's cut, 100,009", "deepseek-llm", 100_009),
)


def archives(folders: list[Path], most: int) -> tuple[list[Path], list[Path]]:
    """The smaller archives, half to train on and half to measure on."""
    found = (path for folder in folders for path in folder.rglob("*") if is_archive(path.name))
    small = [path for path in found if path.is_file() and path.stat().st_size <= LARGEST]
    small.sort(key=lambda path: hashlib.sha256(path.name.encode()).digest())
    return small[:most:2], small[1:most:2]


def trained(texts: Texts, sample_bytes: int) -> Iterator[tuple[str, FastEncoder]]:
    """Our vocabularies, each from the same sample."""
    sample = draw(texts, sample_bytes)
    pieces = [piece.text for piece in sample.pieces(texts)]
    for name, pre, entries in OURS:
        start = time.perf_counter()
        vocabulary = train(pieces, entries, pre_tokenizer=pre)
        row = {"bench": "tokenizer_compression", "trained": name, "entries": vocabulary.rows}
        row |= {"seconds": round(time.perf_counter() - start, 1), "load": os.getloadavg()[0]}
        print(json.dumps(row | {"bytes": sum(sample.taken.values())}), flush=True)
        yield name, FastEncoder(Tokenizer(vocabulary))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--beside", nargs="*", default=[])
    parser.add_argument("--megabytes", type=int, default=6, help="to measure on")
    parser.add_argument("--train-megabytes", type=int, default=32)
    parser.add_argument("--most", type=int, default=400, help="archives")
    given = parser.parse_args()
    training, measuring = archives(given.archives, given.most)
    encoders = dict(trained(Texts(training), given.train_megabytes << 20))
    for typed in given.beside:
        name, vocabulary = vocabulary_of(typed, quiet=True)
        encoders[name] = FastEncoder(Tokenizer(vocabulary))
    held_out = Texts(measuring)
    sample = draw(held_out, given.megabytes << 20)
    rows = measure(encoders, sample.pieces(held_out))
    row = {"bench": "tokenizer_compression", "archives": [len(training), len(measuring)]}
    row |= {"entries": {name: e.tokenizer.vocab_size for name, e in encoders.items()}}
    print(json.dumps(row | {"rows": as_records(rows)}))


if __name__ == "__main__":
    main()
