"""What a build did, in numbers, read from its folder: all that the report page shows.

Source of what is asked: the funnel of DeepSeek-Coder §2 (32.8 % of the volume stays after its
rules), and what users of other pipelines miss.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from midfill.corpus import table
from midfill.corpus.decontamination import Index
from midfill.corpus.decontamination.stage import Report
from midfill.corpus.dependencies.measure import measure
from midfill.corpus.pipeline.aside import lot_of
from midfill.corpus.pipeline.count import Counts
from midfill.corpus.pipeline.ledger import RUN, Ledger
from midfill.corpus.quality.model import above
from midfill.corpus.record import Document
from midfill.corpus.shards import TokenShards
from midfill.corpus.whole import read_sealed
from midfill.errors import CorpusError

STEPS = (  # of the funnel, in order, and the reasons for which files go there
    ("language", ("language", "created")),
    ("rules", ()),  # every other reason of the stage `clean`
    (
        "vendored, generated",
        tuple(
            "vendored lock_file source_map generated_name generated_header minified encoded".split()
        ),
    ),
    ("licence", ("licence", "licence_unknown")),
    ("near-duplicates", ("duplicate_repository", "duplicate_file", "exact_copy")),
    ("syntax", tuple("syntax parser_time parser_memory parser_depth parser_crash".split())),
    ("readability", ()),  # every other reason of the stage `judge`
    ("benchmarks", ("contaminated", "held_out")),
    ("quality model", ("quality",)),
)
_REST = {"clean": "rules", "judge": "readability", "tokens-0": "quality model"}
_STAGES = tuple(_REST)
_ORDERED = 400  # repositories in the table of orders: the first by the hash of their name
_SAMPLES = 6  # dropped files of each reason, on the page
_LIGHT = ("repo", "path", "size", "language", "licence", "depends_on", "quality")
Row = dict[str, Any]


def collect(out: Path) -> dict[str, Any]:
    """Everything about a finished build. Raises CorpusError where there is none."""
    shards = TokenShards.open(out)
    shards.check()
    run, index = read_sealed(out / RUN), shards.index
    if run is None or not (out / "stages").is_dir():
        raise CorpusError(
            f"{out} holds no whole build",
            why="stages/ is missing" if run else f"{RUN} is missing or damaged",
            fix=f"midfill corpus build CONFIG --out {out}, as before, makes again what is missing",
        )
    ledger = Ledger(out / "stages")
    counts = Counts()
    for stage in _STAGES:
        for note in ledger.notes(stage):
            counts.merge(note.get("counts", {}))
    rows, documents = counts.table(), _documents(ledger)
    return {
        "run": run,
        "digest": index["digest"],
        "tokens": index["tokens"],
        "documents": index["documents"],
        "shards": len(index["shards"]),
        "available": {"documents": len(documents), "tokens": sum(d["tokens"] for d in documents)},
        "left_out": index["left_out"],
        "mix": index["mix"],
        "quality_cuts": index["quality_cuts"],
        "funnel": funnel(rows),
        "reasons": reasons(rows),
        "unread": unread(rows),
        "masked": masked(ledger),
        "languages": languages(rows, documents, index["languages"]),
        "licences": licences(stayed(ledger, index["quality_cuts"])),
        "lengths": lengths(shards),
        "duplicates": duplicates(ledger, run),
        "quality_model": next(ledger.notes("quality"), {}),
        "benchmarks": benchmarks(ledger),
        "orders": orders(stayed(ledger, index["quality_cuts"])),
    }


def step_of(stage: str, reason: str) -> str:
    """The step of the funnel at which a file with this reason goes."""
    return next((step for step, reasons in STEPS if reason in reasons), _REST[stage])


def funnel(rows: Sequence[Row]) -> list[Row]:
    """Files and bytes that each step leaves, and what it drops."""
    read = [row for row in rows if row["stage"] == "clean"]
    files, size = (sum(row[name] for row in read) for name in ("files", "bytes"))
    found = [{"step": "read", "files": files, "bytes": size, "dropped": 0, "dropped_bytes": 0}]
    gone: Counter[str] = Counter()
    gone_bytes: Counter[str] = Counter()
    for row in rows:
        if row["reason"] and row["stage"] in _REST:
            step = step_of(row["stage"], row["reason"])
            gone[step] += row["files"]
            gone_bytes[step] += row["bytes"]
    for step, _ in STEPS:
        files, size = files - gone[step], size - gone_bytes[step]
        found.append(
            {
                "step": step,
                "files": files,
                "bytes": size,
                "dropped": gone[step],
                "dropped_bytes": gone_bytes[step],
            }
        )
    return found


def reasons(rows: Sequence[Row]) -> list[Row]:
    """Files and bytes for each reason, the most bytes first."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["reason"] and row["stage"] in _REST:
            total = found[step_of(row["stage"], row["reason"]), row["reason"]]
            total[0] += row["files"]
            total[1] += row["bytes"]
    rows = [
        {"step": step, "reason": reason, "files": files, "bytes": size}
        for (step, reason), (files, size) in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["reason"]))


def unread(rows: Sequence[Row]) -> dict[str, int]:
    """Files and archives that could not be read, by reason."""
    found = Counter({row["reason"]: row["files"] for row in rows if row["stage"] == "read"})
    del found[None]
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def masked(ledger: Ledger) -> dict[str, int]:
    """Secrets and personal data that were replaced, by kind, the most first."""
    found: Counter[str] = Counter()
    for note in ledger.notes("clean"):
        found.update(note.get("masked", {}))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def languages(
    rows: Sequence[Row], documents: Sequence[Row], shards: Mapping[str, Mapping[str, int]]
) -> list[Row]:
    """For each language the files and bytes read and kept, and the tokens there and in the shards.

    Tokens, and bytes for each, are those of documents that are mostly in the language: once of all
    `documents`, and as often as they are used of those in `shards`.
    """
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["stage"] == "clean" and row["language"]:
            found[row["language"]].update(files_in=row["files"], bytes_in=row["bytes"])
        if row["stage"] == "tokens-0" and row["language"] and not row["reason"]:
            found[row["language"]].update(files=row["files"], bytes=row["bytes"])
    for row in documents:
        sizes = found[row["language"] or ""]
        sizes.update(tokens=row["tokens"], document_bytes=row["bytes"])
    for split, tokens in shards.items():
        for language, count in tokens.items():
            found[language][split] += count
    names = "files_in bytes_in files bytes tokens document_bytes train held_out".split()
    kept = [{"language": one} | {n: row[n] for n in names} for one, row in found.items()]
    return sorted(kept, key=lambda row: (-row["bytes"], -row["bytes_in"], row["language"]))


def _documents(ledger: Ledger) -> list[Row]:
    """All that could be trained on or held out, as in the first epoch."""
    return [
        row
        for path in ledger.outputs("tokens-0", ".parquet")
        for row in table.read(path, ["language", "tokens", "bytes"]).to_pylist()
    ]


def stayed(ledger: Ledger, cuts: Mapping[str, float]) -> Iterator[Document]:
    """The files that passed every step, the quality model too, without their texts."""
    rule = above(cuts)
    for path in ledger.outputs("judge", ".parquet"):
        for row in table.read(path, _LIGHT).to_pylist():
            document = Document(**row, text="", sha256="")
            if rule(document) is None:
                yield document


def licences(documents: Iterable[Document]) -> list[Row]:
    """Files and bytes for each licence, the most bytes first."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for document in documents:
        total = found[document.licence or "unknown"]
        total[0] += 1
        total[1] += document.size
    rows = [{"licence": name, "files": n, "bytes": size} for name, (n, size) in found.items()]
    return sorted(rows, key=lambda row: (-row["bytes"], row["licence"]))


def lengths(shards: TokenShards) -> list[Row]:
    """Documents to train on, and tokens in them, by powers of two of their length."""
    borders = [np.append(shards.starts(one), np.uint64(one.tokens)) for one in shards.shards()]
    counts = np.concatenate([np.empty(0, np.uint64), *map(np.diff, borders)]).astype(np.int64)
    found = []
    for power in range(4, 31):
        inside = (counts < 1 << power) & (counts >= (1 << power - 1 if power > 4 else 0))
        if inside.any():
            found.append(
                {
                    "below": 1 << power,
                    "documents": int(inside.sum()),
                    "tokens": int(counts[inside].sum()),
                }
            )
    return found


def duplicates(ledger: Ledger, run: Row) -> Row:
    """What deduplication removed, and how large its clusters were."""
    notes = list(ledger.notes("dedupe"))
    if not notes or run["config"]["duplicates"] is None:
        return {}
    sizes: Counter[str] = Counter()
    for path in ledger.outputs("dedupe", ".parquet"):
        rows = table.read(path, ["dup_of"]).to_pylist()
        sizes.update(row["dup_of"] for row in rows)
    clusters = Counter(count + 1 for count in sizes.values())
    return {
        **notes[0],
        "clusters": {str(size): count for size, count in sorted(clusters.items())},
    }


def benchmarks(ledger: Ledger) -> Row:
    """What was found of benchmarks, over all parts; every count is exact."""
    parts = [note["benchmarks"] for note in ledger.notes("judge") if "benchmarks" in note]
    if not parts:
        return {}
    total = Report()
    for part in parts:
        total.add(Report.from_json(part))
    return total.summary(Index.load(ledger.folder / "benchmarks.npz"))


def orders(documents: Iterable[Document]) -> Row:
    """How the four orders do on the imports of some of the repositories."""
    repositories: defaultdict[str, dict[str, tuple[int, tuple[str, ...]]]] = defaultdict(dict)
    for document in documents:
        repositories[document.repo][document.path] = (document.size, document.depends_on)
    return measure(repositories, most=_ORDERED)


def samples(out: Path) -> Iterator[Row]:
    """Dropped files to read: some of each reason, the same however the work was divided."""
    ledger = Ledger(out / "stages")
    for stage in _STAGES:
        kept: defaultdict[str, list[tuple[bytes, Row]]] = defaultdict(list)
        for path in ledger.outputs(stage, ".dropped.parquet"):
            for row in table.read(path).to_pylist():
                lots = kept[row["drop_reason"]]
                lots.append((lot_of(f"{row['repo']}:{row['path']}"), row))
                lots.sort(key=lambda one: one[0])
                del lots[_SAMPLES:]
        for _, lots in sorted(kept.items()):
            yield from (row for _, row in lots)
