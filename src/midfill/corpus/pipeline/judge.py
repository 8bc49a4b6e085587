"""The stage behind deduplication: copies go, then what reads badly, then what holds benchmarks.

Source: DeepSeek-Coder §2.4. Files that the quality model scores too low go later, in `tokens.py`:
what is too low is known when all scores are.
"""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.config.corpus.build import CorpusConfig
from midfill.config.corpus.quality import QualityConfig
from midfill.corpus import table
from midfill.corpus.decontamination import Index, decontaminate
from midfill.corpus.pipeline.aside import Aside
from midfill.corpus.pipeline.count import Counts
from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.quality.classifier import Classifier
from midfill.corpus.quality.heuristics import heuristics
from midfill.corpus.quality.model import QualityModel
from midfill.corpus.quality.syntax import Checker
from midfill.corpus.record import TEXT, Document, Drop

STAGE = "judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTask:
    """Judge the cleaned files of one part."""

    number: int
    key: str
    bytes: int
    ledger: Ledger
    files: Path  # Parquet of the cleaned files
    duplicates: Path | None  # Parquet of what is removed as a copy
    index: Path | None  # of benchmarks
    model: Path | None  # of quality
    config: CorpusConfig
    stage: str = STAGE


def judge_part(task: JudgeTask) -> dict[str, Any]:
    """Write the files that stay, with their scores, and samples of the others; return the note."""
    config, counts = task.config, Counts()
    aside = Aside(config.kept_samples)
    index = None if task.index is None else _loaded(task.index, task.index.stat().st_mtime_ns)
    documents = list(table.documents(task.files))
    _drop_copies(documents, _copies(task.duplicates))
    if config.quality is not None:
        _read(documents, config.quality, task.model)
    note: dict[str, Any] = {}
    if index is not None and config.decontamination is not None:
        found = decontaminate(documents, index, config.decontamination)
        note["benchmarks"] = found.as_json(index)
    counts.add(STAGE, documents)
    aside.add(STAGE, documents)
    kept = [document for document in documents if document.drop is None]
    place = task.ledger.place(STAGE, task.number)
    written = [place.with_suffix(ending) for ending in (".parquet", ".dropped.parquet")]
    table.write(written[0], table.to_table(kept))
    table.write(written[1], aside.table())
    note |= {"counts": counts.rows(), "files": len(kept), "bytes": sum(d.size for d in kept)}
    return task.ledger.finish(STAGE, task.number, task.key, note, written)


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, _stamp: int) -> Index:
    """The index, once for all tasks of a process."""
    return Index.load(path)


def _read(documents: Sequence[Document], config: QualityConfig, model: Path | None) -> None:
    """Drop code that is broken or reads badly, and score the rest."""
    heuristic = None if config.heuristics is None else heuristics(config.heuristics)
    scorer = None if model is None else QualityModel(Classifier.load(model))
    with contextlib.ExitStack() as stack:
        checker = None
        if config.syntax is not None:
            checker = stack.enter_context(Checker(config.syntax))
        for document in documents:
            if document.language == TEXT:
                continue
            if document.drop is None and checker is not None:
                document.drop = checker.rule(document)
            if document.drop is None and heuristic is not None:
                document.drop = heuristic(document)
            if document.drop is None and scorer is not None:
                document.quality = scorer.score(document.text)


def _copies(path: Path | None) -> Mapping[tuple[bool, str], tuple[str, str]]:
    """What is removed: whether it is a repository, and its name; to level and what is kept."""
    if path is None:
        return {}
    rows = table.read(path).to_pylist()
    return {(r["level"] == "repo", r["id"]): (r["level"], r["dup_of"]) for r in rows}


_REASONS = {"repo": "duplicate_repository", "file": "duplicate_file", "copy": "exact_copy"}


def _drop_copies(
    documents: Sequence[Document], copies: Mapping[tuple[bool, str], tuple[str, str]]
) -> None:
    for document in documents:
        found = copies.get((True, document.repo)) or copies.get((False, document.id))
        if found is not None:
            level, document.dup_of = found
            document.drop = Drop(_REASONS[level], document.dup_of)
