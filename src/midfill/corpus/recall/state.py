"""Rounds on disk: one JSON file and one model a round, so that a killed run goes on after the last.

The lists of addresses are sorted, so equal rounds give equal files.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path

from midfill.corpus.quality.classifier import Classifier
from midfill.corpus.recall.annotations import Proposal
from midfill.corpus.recall.loop import Round
from midfill.errors import CorpusError

SETS = ("seed", "next_seed", "collected", "total")


def write(folder: Path, made: Round) -> Path:
    """Write a round; its JSON appears only when everything of it is there. Returns that file."""
    folder.mkdir(parents=True, exist_ok=True)
    made.classifier.save(_model(folder, made.number))
    row = {one.name: getattr(made, one.name) for one in fields(made) if one.name != "classifier"}
    row |= {name: sorted(row[name]) for name in SETS}
    row["proposals"] = [asdict(one) for one in made.proposals]
    path = _row(folder, made.number)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(row, ensure_ascii=True) + "\n", encoding="ascii")
    part.replace(path)
    return path


def read(folder: Path) -> list[Round]:
    """The rounds that were written, from the first, up to the first gap."""
    found: list[Round] = []
    while _row(folder, len(found) + 1).is_file():
        found.append(_read_one(folder, len(found) + 1))
    return found


def _read_one(folder: Path, number: int) -> Round:
    path = _row(folder, number)
    try:
        row = json.loads(path.read_text(encoding="ascii"))
        row |= {name: frozenset(row[name]) for name in SETS}
        proposals = tuple(Proposal(**one) for one in row.pop("proposals"))
        row |= {name: tuple(row[name]) for name in ("trained_on", "domains", "accepted")}
        model = Classifier.load(_model(folder, number))
        return Round(**row, proposals=proposals, classifier=model)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CorpusError(
            f"{path} is no round of recall",
            why=str(error),
            fix=f"remove {path} and those after it: the loop goes on from the round before",
        ) from error


def _row(folder: Path, number: int) -> Path:
    return folder / f"round-{number}.json"


def _model(folder: Path, number: int) -> Path:
    return folder / f"round-{number}.ngrams"
