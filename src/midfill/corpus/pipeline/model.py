"""The exchange that trains the quality model, on labels from all parts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from midfill.config.corpus.quality import ClassifierConfig
from midfill.corpus import table
from midfill.corpus.quality.labels import Labelled, lot
from midfill.corpus.quality.model import QualityModel

STAGE = "quality"
_MOST = 40_000  # labelled texts that the model learns from; ours
_FEWEST = 100  # of each kind, below which nothing is learned
_COLUMNS = ("id", "repo", "language", "text", "good", "kind")


def write_labelled(path: Path, labelled: Iterable[Labelled]) -> None:
    """Write the labelled texts of a part."""
    rows = [{name: getattr(one, name) for name in _COLUMNS} for one in labelled]
    pa = table.arrow()
    kinds = [pa.string(), pa.string(), pa.string(), pa.large_string(), pa.bool_(), pa.string()]
    schema = pa.schema(list(zip(_COLUMNS, kinds, strict=True)))
    table.write(path, pa.Table.from_pylist(rows, schema))


def train(parts: Sequence[Path], config: ClassifierConfig, out: Path) -> dict[str, Any]:
    """Train on the parts' labelled texts and write the model; return numbers about it.

    Where there are too few of a kind no model is written, and no file is scored.
    """
    lots = []
    for number, path in enumerate(parts):
        for row in table.read(path, ["id", "good"]).to_pylist():
            lots.append((lot(row["id"]), number, row["id"], row["good"]))
    chosen = sorted(lots)[:_MOST]
    good = sum(one[3] for one in chosen)
    numbers = {"good": good, "bad": len(chosen) - good}
    out.unlink(missing_ok=True)
    if min(numbers.values()) < _FEWEST:
        return numbers | {"trained": False}
    wanted: dict[int, set[str]] = {}
    for _, number, name, _ in chosen:
        wanted.setdefault(number, set()).add(name)
    labelled = (
        Labelled(**row)
        for number, names in sorted(wanted.items())
        for row in table.read(parts[number]).to_pylist()
        if row["id"] in names
    )
    QualityModel.train(labelled, config).classifier.save(out)
    return numbers | {"trained": True}
