"""Parquet and JSON Lines in the layouts of The Stack."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from midfill.corpus.sources import TableSource
from midfill.errors import CorpusError
from reading import LIMITS, everything, reasons, texts

V1 = [
    ("o/r", "a.py", "x = 1\n", 5, ["MIT"]),
    ("o/s", "b.py", "y", None, []),
    ("o/r", "d/c.py", "ü", 7, ["ISC"]),
]


def stack_v1(rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    names = (
        "max_stars_repo_name",
        "max_stars_repo_path",
        "content",
        "max_stars_count",
        "max_stars_repo_licenses",
    )
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return columns | {"lang": ["Python"] * len(rows), "size": [len(row[2]) for row in rows]}


@pytest.mark.parametrize("large", [False, True])
def test_the_stack_as_parquet(tmp_path: Path, large: bool):
    pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'midfill[corpus]'")
    import pyarrow.parquet as pq

    columns = stack_v1(V1 * 3)
    columns["max_stars_repo_path"] = [
        f"{i // 3}/{path}" for i, path in enumerate(columns["max_stars_repo_path"])
    ]
    table = pa.table(columns)
    if large:
        at = table.schema.get_field_index("content")
        table = table.set_column(at, "content", table.column("content").cast(pa.large_string()))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    source = TableSource(path=str(tmp_path))
    found = everything(source)
    assert list(found) == ["table/o/r", "table/o/s"]
    assert texts(found["table/o/r"]) == {
        f"{i}/{p}": t for i in range(3) for _, p, t, *_ in (V1[0], V1[2])
    }
    (first, second) = source.references()
    assert (first.stars, first.licence, len(first.spans)) == (7, "MIT", 3)
    assert (second.stars, second.licence, second.bytes) == (None, None, 3)
    assert found["table/o/r"].documents[0].stars == 7


def test_tables_that_are_none(tmp_path: Path):
    pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'midfill[corpus]'")
    import pyarrow.parquet as pq

    path = tmp_path / "v2.parquet"
    pq.write_table(pa.table({"blob_id": ["x"], "repo_name": ["r"], "path": ["p"]}), path)
    with pytest.raises(CorpusError, match="no column content") as error:
        list(TableSource(path=str(path)).references())
    assert "ids, not contents" in error.value.why
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(CorpusError, match="cannot be read"):
        list(TableSource(path=str(path)).references())


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_json_lines_in_any_order(tmp_path: Path, ending: str):
    rng = random.Random(0)
    rows = [(f"r{rng.randrange(5)}", f"{i}.py", f"text {i}\n" * 50) for i in range(300)]
    good = [json.dumps({"repo_name": r, "path": p, "content": t}) for r, p, t in rows]
    bad = [
        "{",
        "[]",
        '{"repo_name": "x"}',
        "[" * 100_000,
        json.dumps({"repo_name": "s", "path": "p", "content": "\ud800"}),
    ]
    lines = good[:100] + bad + ["", *good[100:]]
    data = "\n".join(lines).encode()
    path = tmp_path / f"x.jsonl{ending}"
    path.write_bytes(gzip.compress(data) if ending else data)
    found = everything(TableSource(path=str(path)))
    for name in {row[0] for row in rows}:
        assert texts(found[f"table/{name}"]) == {p: t for r, p, t in rows if r == name}
    assert reasons(found["table/s"]) == {"encoding": 1}
    assert reasons(found[f"table/{path.name}#unreadable"]) == {"row": 4}


def test_reading_order_changes_nothing(tmp_path: Path):
    rows = [{"repo": f"r{i % 7}", "path": f"{i}", "text": f"{i}"} for i in range(100)]
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    source = TableSource(path=str(path))
    references = list(source.references())
    forwards = [source.read(reference, LIMITS) for reference in references]
    backwards = [source.read(reference, LIMITS) for reference in references[::-1]]
    assert forwards == backwards[::-1]
    assert sum(len(found.documents) for found in forwards) == 100
