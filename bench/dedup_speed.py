"""Speed of near-deduplication beside datatrove, datasketch and rensa: one core, same files, same run.

python3 -m venv peers && peers/bin/pip install datatrove spacy tokenizers "xxhash<4" datasketch rensa
python bench/dedup_speed.py FOLDER --peers peers/bin/python [--mb 200]

FOLDER holds source archives (.tar.gz). Each peer is given the first files of one shuffled list, as
many as it can do in bearable time, and midfill the same files just before and after it. All use word
5-grams and 25 bands of 10 rows, one thread. Figures are megabytes of UTF-8 text per second of
processor and of clock, the better of two runs; `signature` is text to sketch, `whole` text to the
files that stay. midfill's `whole` verifies each pair exactly; none of the peers does.

How the peers are set: datatrove hashes with xxhash64 and is timed with its English tokenizer, as it
comes, and with the regular expression \\w+ in its place, which is the faster; its three steps read and
write a temporary folder. datasketch takes batches, with xxhash64. rensa takes token lists of all
files at once, R-MinHash with 250 permutations.
"""

import argparse
import json
import os
import pickle
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = {"datatrove": 1.5, "datatrove \\w+": 6, "datasketch": 12, "rensa": 25}  # MB each is given
BANDS, ROWS = 25, 10
KINDS = (".py", ".pyi", ".c", ".h", ".cpp", ".js", ".ts", ".rs", ".go", ".rst", ".md", ".toml")
WORDS = re.compile(r"\w+")


class PlainTokenizer:
    """What datatrove asks of a tokenizer, by a regular expression."""

    def word_tokenize(self, text: str) -> list[str]:
        return WORDS.findall(text)


def shingles(text: str) -> set[str]:
    words = WORDS.findall(text.lower())
    return {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}


def datatrove(texts: list[str], whole: bool, plain: bool) -> int:
    from datatrove.data import Document
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.logging import logger

    logger.remove()
    config = MinhashConfig(
        n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS, hash_config=HashConfig(precision=64)
    )
    with tempfile.TemporaryDirectory() as folder:
        sign = MinhashDedupSignature(f"{folder}/sign", config=config)
        if plain:
            sign.word_tokenizer = PlainTokenizer()
        if not whole:
            return sum(
                len(sign.get_signature(s)) > 0 for t in texts if (s := sign.get_shingles(t)).size
            )
        for _ in sign.run((Document(text, str(i)) for i, text in enumerate(texts))) or ():
            pass
        for bucket in range(BANDS):
            step = MinhashDedupBuckets(f"{folder}/sign", f"{folder}/buckets", config=config)
            list(step.run(None, bucket, BANDS) or ())
        cluster = MinhashDedupCluster(f"{folder}/buckets", f"{folder}/gone", config=config)
        list(cluster.run(None, 0, 1) or ())
        gone = sum(p.stat().st_size // 4 for p in Path(folder, "gone").rglob("*.remove"))
        return len(texts) - gone


def datasketch(texts: list[str], whole: bool) -> int:
    import xxhash
    from datasketch import MinHash, MinHashLSH

    made = []
    for text in texts:
        one = MinHash(
            num_perm=BANDS * ROWS, hashfunc=lambda b: xxhash.xxh64_intdigest(b) & 0xFFFFFFFF
        )
        one.update_batch([s.encode("utf-8", "surrogatepass") for s in shingles(text)])
        made.append(one)
    if not whole:
        return len(made)
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    kept = 0
    for i, one in enumerate(made):
        if not index.query(one):
            kept += 1
            index.insert(str(i), one)
    return kept


def rensa(texts: list[str], whole: bool) -> int:
    from rensa import RMinHash, RMinHashLSH

    made = RMinHash.from_token_sets([list(shingles(t)) for t in texts], BANDS * ROWS, 1)
    if not whole:
        return len(made)
    index = RMinHashLSH(threshold=0.7, num_perm=BANDS * ROWS, num_bands=BANDS)
    kept = 0
    for i, one in enumerate(made):
        if not index.query(one):
            kept += 1
            index.insert(i, one)
    return kept


def midfill(texts: list[str], whole: bool) -> int:
    from midfill.config.corpus.duplicates import Duplicates
    from midfill.corpus.duplicates.run import deduplicate
    from midfill.corpus.duplicates.sketch import sketch
    from midfill.corpus.record import Document

    files = [
        Document(repo="r", path=str(i), text=text, size=len(text), sha256="")
        for i, text in enumerate(texts)
    ]
    if not whole:
        return len(sketch(files, Duplicates(level="file")))
    return sum(one.keep for one in deduplicate(files, Duplicates(level="file")))


RUNS: dict[str, Callable[[list[str], bool], int]] = {
    "midfill": midfill,
    "datatrove": lambda texts, whole: datatrove(texts, whole, plain=False),
    "datatrove \\w+": lambda texts, whole: datatrove(texts, whole, plain=True),
    "datasketch": datasketch,
    "rensa": rensa,
}


def read_files(folder: Path, most: float) -> list[str]:
    """Texts of the archives, at most `most` MB, in one shuffled order."""
    texts, size = [], 0
    for archive in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as members:
            for member in members:
                if member.isfile() and member.name.endswith(KINDS) and size < most * 1e6:
                    data = members.extractfile(member).read()  # pyright: ignore[reportOptionalMemberAccess]
                    texts.append(data.decode("utf-8", "replace"))
                    size += len(data)
    random.Random(1).shuffle(texts)
    return texts


def first(texts: list[str], most: float) -> list[str]:
    size, at = 0, 0
    while at < len(texts) and size < most * 1e6:
        size += len(texts[at].encode("utf-8", "replace"))
        at += 1
    return texts[:at]


def measure(name: str, texts: list[str], whole: bool) -> dict[str, Any]:
    """One run in this process, after a small one that imports and fills caches."""
    run = RUNS[name]
    run(texts[:3], whole)
    cpu, clock = time.process_time(), time.perf_counter()
    result = run(texts, whole)
    return {
        "result": result, "cpu_s": time.process_time() - cpu, "clock_s": time.perf_counter() - clock
    }  # fmt: skip


def ask(python: str, name: str, file: Path, whole: bool) -> dict[str, Any]:
    """`measure` in a process of its own, one thread."""
    threads = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    command = [python, __file__, "--as", name, str(file), *(["--whole"] if whole else [])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | dict.fromkeys(threads, "1"),
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(names: list[str], texts: list[str], peers: str | None) -> None:
    """Both runs of each name, interleaved, on the same texts; one JSON line each."""
    size = sum(len(t.encode("utf-8", "replace")) for t in texts) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "texts.pickle")
        file.write_bytes(pickle.dumps(texts))
        for whole in (False, True):
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for _ in range(2):
                for name in names:
                    python = sys.executable if name == "midfill" else peers or sys.executable
                    runs[name].append(ask(python, name, file, whole))
            for name, done in runs.items():
                row = {
                    "bench": "whole" if whole else "signature",
                    "who": name,
                    "mb": round(size, 1),
                }
                good = [one for one in done if "failed" not in one]
                if good:
                    row |= {"mb_per_cpu_s": round(size / min(one["cpu_s"] for one in good), 2)}
                    row |= {"mb_per_s": round(size / min(one["clock_s"] for one in good), 2)}
                    row |= {"files": len(texts), "stay": good[0]["result"] if whole else None}
                else:
                    row |= done[0]
                print(json.dumps(row | {"load": round(os.getloadavg()[0], 1)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument(
        "--peers", help="Python of the environment with the peers; none: ours alone"
    )
    parser.add_argument("--mb", type=float, default=100, help="megabytes read")
    parser.add_argument("--as", dest="name", help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.name:
        texts = pickle.loads(options.path.read_bytes())
        print(json.dumps(measure(options.name, texts, options.whole)))
        return
    texts = read_files(options.path, options.mb)
    compare(["midfill"], texts, None)
    for name, most in PEERS.items() if options.peers else ():
        compare(["midfill", name], first(texts, most), options.peers)


if __name__ == "__main__":
    main()
