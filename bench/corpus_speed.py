"""Speed of the whole chain on one core, beside datatrove and text-dedup on the same documents.

    python -m venv peers
    peers/bin/pip install datatrove spacy tokenizers orjson text-dedup==0.4.0 "xxhash<4"
    python bench/corpus_speed.py LIST --cache FOLDER [--packages 60] [--peers peers/bin/python]

LIST is a list of packages that lie in FOLDER (`midfill corpus build --set fetching.cache=FOLDER`).
midfill does everything up to tokenisation in one process: archives, languages, rules, licences,
secrets, imports, near-duplicates, syntax, readability, the quality model, benchmarks. The peers are
given part of the same documents as JSONL and do part of that: datatrove the papers' filters as one
LambdaFilter and MinHash with 25 x 10 bands and the regular expression \\w+ in place of its slower
tokenizer; text-dedup MinHash with the same bands, two processes at most allowed to it. Figures are
megabytes of document text, as read, per second of processor time (children included) and of clock.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine

STAGES = ("cleaning", "comparing", "training the quality model", "judging")
END = "training the tokenizer"
BANDS, ROWS = 25, 10


class Done(Exception):  # noqa: N818
    """What is measured has been done."""


def cpu() -> float:
    """Seconds of processor time of this process and its finished children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def configuration(args: argparse.Namespace, folder: Path) -> Any:
    """The recipe on some packages of the list, chosen by hash."""
    from midfill.config.corpus.build import SourceConfig
    from midfill.config.corpus.sources import Fetching
    from midfill.recipes.corpora import default

    rows = json.loads(args.list.read_text(encoding="utf-8"))
    rows.sort(key=lambda row: hashlib.sha256(row["filename"].encode()).hexdigest())
    chosen = folder / "list.json"
    chosen.write_text(json.dumps(rows[: args.packages]))
    return replace(
        default(),
        sources=(SourceConfig(kind="packages", path=str(chosen)),),
        fetching=Fetching(cache=str(args.cache), offline=True),
    )


def ours(config: Any, out: Path) -> dict[str, Any]:
    """Processor and clock seconds of each stage, and how much was read and stayed."""
    from midfill.corpus.pipeline.build import build
    from midfill.corpus.pipeline.ledger import Ledger
    from midfill.corpus.pipeline.local import Local

    marks: list[tuple[str, float, float]] = []

    def report(state: Any) -> None:
        if not marks or marks[-1][0] != state.label:
            marks.append((state.label, cpu(), time.perf_counter()))
        if state.label == END:
            raise Done

    benchmarks = os.environ.get("MIDFILL_DATA")
    with contextlib.suppress(Done):
        build(config, out, Local(1), benchmarks=benchmarks and Path(benchmarks), report=report)
    ledger = Ledger(out / "stages")
    read = sum(
        size
        for note in ledger.notes("clean")
        for key, (_, size) in note["counts"].items()
        if key.startswith("read\t\t")
    )
    stages = {
        label: {"cpu_s": after[1] - at, "seconds": after[2] - clock}
        for (label, at, clock), after in itertools.pairwise(marks)
        if label in STAGES
    }
    kept = sum(note["bytes"] for note in ledger.notes("judge"))
    return {"megabytes": read / 1e6, "kept": kept / 1e6, "stages": stages}


def documents(config: Any) -> Iterator[dict[str, str]]:
    """Every document that was read."""
    from midfill.corpus.sources.opened import opened

    source = opened(config.sources[0], config.fetching)
    for reference in source.references():
        for document in source.read(reference, config.limits).documents:
            yield {"id": document.id, "text": document.text}


def datatrove(path: Path, out: Path) -> int:
    """Filters and MinHash, as a user of datatrove would write them; documents that stay."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.logging import logger

    logger.remove()

    def good(document: Any) -> bool:
        text = document.text
        lengths = [len(line) for line in text.split("\n")]
        return (
            bool(text)
            and max(lengths) <= 1000
            and sum(lengths) / len(lengths) <= 100
            and sum(map(str.isalpha, text)) >= 0.25 * len(text)
            and "<?xml version=" not in text[:100]
        )

    config = MinhashConfig(
        n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS, hash_config=HashConfig(precision=64)
    )
    sign = MinhashDedupSignature(f"{out}/sign", config=config)
    sign.word_tokenizer = PlainTokenizer()
    steps: list[list[Any]] = [
        [JsonlReader(str(path.parent)), LambdaFilter(good), JsonlWriter(f"{out}/filtered")],
        [JsonlReader(f"{out}/filtered"), sign],
        [MinhashDedupBuckets(f"{out}/sign", f"{out}/buckets", config=config)],
        [MinhashDedupCluster(f"{out}/buckets", f"{out}/gone", config=config)],
        [
            JsonlReader(f"{out}/filtered"),
            MinhashDedupFilter(f"{out}/gone"),
            JsonlWriter(f"{out}/kept"),
        ],
    ]
    for i, pipeline in enumerate(steps):
        tasks = BANDS if i == 2 else 1
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=1, logging_dir=f"{out}/logs{i}", skip_completed=False
        ).run()
    return 0


class PlainTokenizer:
    """What datatrove asks of a tokenizer, by a regular expression."""

    def word_tokenize(self, text: str) -> list[str]:
        import re

        return re.findall(r"\w+", text)


def text_dedup(python: str, path: Path, out: Path) -> None:
    """text-dedup's MinHash, by its own command line."""
    command = [python, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(path)]
    command += ["--split", "train", "--column", "text", "--output", str(out), "--ngram", "5"]
    command += ["--num_perm", "250", "--b", str(BANDS), "--r", str(ROWS), "--threshold", "0.7"]
    command += ["--batch_size", "1000", "--num_proc", "2", "--cache_dir", str(out) + "-cache"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"text-dedup failed: {done.stderr[-1500:]}")


def theirs(args: argparse.Namespace, config: Any, folder: Path) -> dict[str, Any]:
    """The peers on the first megabytes of the same documents."""
    path, size = folder / "input" / "documents.jsonl", 0
    path.parent.mkdir()
    with path.open("w", encoding="utf-8") as file:
        for document in documents(config):
            if size > args.peer_megabytes * 1e6:
                break
            size += len(document["text"].encode())
            file.write(json.dumps(document) + "\n")
    rows = {}
    for name in ("datatrove", "text-dedup"):
        out, at, clock = folder / name, cpu(), time.perf_counter()
        if name == "datatrove":
            command = [args.peers, __file__, "--one", str(path), str(out)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"datatrove failed: {done.stderr[-1500:]}")
        else:
            text_dedup(args.peers, path, out)
        rows[name] = {
            "megabytes": size / 1e6,
            "cpu_s": cpu() - at,
            "seconds": time.perf_counter() - clock,
        }
    return rows


def main() -> None:
    """Print what each does in a second."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("list", type=Path, nargs="?")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--packages", type=int, default=60)
    parser.add_argument("--peers", help="the Python of an environment with the peers")
    parser.add_argument("--peer-megabytes", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        raise SystemExit(datatrove(*args.one))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configuration(args, folder)
        found: dict[str, Any] = {"midfill": ours(config, folder / "ours")}
        if args.peers:
            found |= theirs(args, config, folder)
            found["midfill again"] = ours(config, folder / "again")
    found["load"] = os.getloadavg()
    if args.json:
        print(json.dumps(found | machine.describe()))
        return
    for name, row in found.items():
        if name == "load":
            print(f"load {row[0]:.1f}")
            continue
        stages = row.get("stages", {"whole": row})
        for stage, one in stages.items():
            print(
                f"{name:14} {stage:28} {row['megabytes'] / one['cpu_s']:8.1f} MB/cpu s "
                f"{row['megabytes'] / one['seconds']:8.1f} MB/s"
            )
        if "stages" in row:
            whole = [sum(one[key] for one in stages.values()) for key in ("cpu_s", "seconds")]
            print(
                f"{name:14} {'whole':28} {row['megabytes'] / whole[0]:8.1f} MB/cpu s "
                f"{row['megabytes'] / whole[1]:8.1f} MB/s  ({row['megabytes']:.0f} MB read, "
                f"{row['kept']:.0f} MB stay)"
            )


if __name__ == "__main__":
    sys.exit(main())
