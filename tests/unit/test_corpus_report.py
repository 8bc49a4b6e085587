"""The numbers of a build: they are those of the shards, and of the files that stayed."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midfill.config.corpus.build import SourceConfig
from midfill.config.corpus.documents import FimConfig, ShardsConfig, TokenizerConfig
from midfill.corpus import table
from midfill.corpus.decontamination import Index, Item
from midfill.corpus.decontamination.stage import Report
from midfill.corpus.pipeline.build import build
from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.pipeline.local import Local
from midfill.corpus.record import Document
from midfill.corpus.report import write_report
from midfill.corpus.report.numbers import benchmarks, licences, orders, stayed
from midfill.corpus.report.page import _benchmarks
from midfill.corpus.shards import TokenShards
from midfill.recipes.corpora import CORPORA
from midfill.tokenizer.holes import undone
from midfill.tokenizer.tokenizer import Tokenizer

pytest.importorskip("pyarrow")

WORDS = "load store parse read write merge split check count route cache index shard order".split()
COMMON = "def the_same_everywhere(value):\n    return [one.strip() for one in value if one]\n" * 2
SMALL = "VERSION = 1\nNAME = 'small'\n"


def _module(chance: random.Random, name: str) -> str:
    lines = [
        f"    {w}_{i} = {chance.choice(WORDS)}({i})"
        for i, w in enumerate(chance.choices(WORDS, k=9))
    ]
    return "\n".join([f"def {name}(value):", *lines, "    return locals()", ""])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Twelve repositories of two modules that share a file and a tiny one, used twice; a report."""
    folder = tmp_path_factory.mktemp("report")
    for seed in range(12):
        chance, repository = random.Random(seed), folder / "sources" / f"r{seed:02}"
        repository.mkdir(parents=True)
        (repository / "one.py").write_text("import two\n" + _module(chance, f"one{seed}"))
        (repository / "two.py").write_text(_module(chance, f"two{seed}"))
        (repository / "page.js").write_text(
            f"function page{seed}() {{ return load({seed}); }}\n" * 2
        )
        (repository / "common.py").write_text(COMMON)
        (repository / "small.py").write_text(SMALL)
    config = replace(
        CORPORA["default"](),
        sources=(SourceConfig(kind="folder", path=str(folder / "sources")),),
        quality=None,
        decontamination=None,
        shards=ShardsConfig(
            fim=FimConfig(rate=0.5),
            tokenizer=TokenizerConfig(vocabulary=500),
            held_out=0.3,
            epochs=2,
        ),
    )
    build(config, folder / "out", Local(1))
    return folder / "out", write_report(folder / "out")


def _documents(out: Path, split: str) -> list[tuple[str, int]]:
    """The texts of a split's documents, with how many tokens each has."""
    tokenizer = Tokenizer.from_folder(out / "tokenizer")
    assert tokenizer.fim is not None
    found = []
    for ids in TokenShards.open(out).documents(split):
        inner = ids[1:-1].tolist()
        parts = undone(inner, tokenizer.fim) or (inner,)
        found.append((tokenizer.decode([one for part in parts for one in part]), len(ids)))
    return found


def test_tokens_by_language_are_those_of_the_shards(built: tuple[Path, dict[str, Any]]):
    out, report = built
    for split in ("train", "held_out"):
        tokens: Counter[str] = Counter()
        for text, count in _documents(out, split):
            tokens["JavaScript" if "page.js" in text else "Python"] += count
        told = {row["language"]: row[split] for row in report["languages"]}
        assert told == tokens
        assert min(tokens.values()) > 0
    lengths = [count for _, count in _documents(out, "train")]
    assert sum(row["tokens"] for row in report["lengths"]) == sum(lengths)
    assert sum(row["documents"] for row in report["lengths"]) == len(lengths)


def test_nothing_held_out_is_trained_on_as_well(built: tuple[Path, dict[str, Any]]):
    out, report = built
    train, held_out = (
        [text for text, _ in _documents(out, split)] for split in ("train", "held_out")
    )
    projects = sum("two.py" in text for text in held_out)
    assert projects > 1
    assert sum("common.py" in text for text in held_out) == 0
    assert sum("common.py" in text for text in train) == 2 * (12 - projects)
    assert sum("small.py" in text for text in held_out) == projects  # below `exact_bytes`
    assert report["left_out"]["in_train"]["documents"] == projects
    dropped = sum(row["tokens"] for row in report["left_out"].values())
    used = sum(row["tokens"] for row in report["languages"])
    assert report["available"]["tokens"] == used
    once = used - dropped - report["tokens"]["held_out"]
    assert once < report["tokens"]["train"] <= 2 * once + 8 * report["documents"]["train"]


def test_numpy_alone_finds_the_files_of_a_document(built: tuple[Path, dict[str, Any]]):
    out, _ = built
    shards = TokenShards.open(out)
    tokenizer = Tokenizer.from_folder(out / "tokenizer")
    assert tokenizer.fim is not None
    several = 0
    for name, entry in shards.index["files"].items():
        ids = np.fromfile(out / f"shards/{name}.bin", shards.index["dtype"])
        starts = np.fromfile(out / f"shards/{name}.starts.bin", "<u8").astype(int)
        files = np.fromfile(out / f"shards/{name}.files.bin", "<u8").astype(int)
        assert entry["files"] == len(files)
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            own = files[(files >= start) & (files < end)].tolist()
            assert own[0] == start + 1
            texts = [
                tokenizer.decode(ids[a:b].tolist()).strip("\n")
                for a, b in zip(own, [*own[1:], end - 1], strict=True)
            ]
            if tokenizer.fim.suffix in ids[start:end]:
                assert len(texts) == 1
                continue
            assert all(text.startswith(("#", "// ")) for text in texts)
            several += len(texts) > 1
    assert several > 1


def test_licences_and_orders_are_of_what_the_quality_model_left(tmp_path: Path):
    def file(path: str, licence: str, quality: float | None, *needs: str) -> Document:
        return Document(
            repo="r", path=path, text="x", size=10, sha256="", language="C",
            licence=licence, quality=quality, depends_on=needs,
        )  # fmt: skip

    ledger = Ledger(tmp_path / "stages")
    files = [
        file("a.c", "MIT", 0.5),
        file("b.c", "ISC", 0.4, "a.c"),
        file("c.c", "MIT", None, "a.c", "b.c"),
    ]
    path = ledger.place("judge", 0).with_suffix(".parquet")
    table.write(path, table.to_table(files))
    ledger.finish("judge", 0, "key", {}, [path])
    assert licences(stayed(ledger, {"C": 0.5})) == [{"licence": "MIT", "files": 2, "bytes": 20}]
    assert len(licences(stayed(ledger, {"C": 0.4}))) == 2
    assert orders(stayed(ledger, {"C": 0.5}))["edges"] == 1
    assert orders(stayed(ledger, {}))["edges"] == 3


def test_the_page_has_a_row_for_each_benchmark_and_task(tmp_path: Path):
    index = Index.from_texts([Item("set", "one/1", "text", "some words"), ("quiet", "2", "others")])
    ledger = Ledger(tmp_path / "stages")
    for number in range(3):
        part = Report(documents=5, dropped=2)
        part.sets["set"] = part.tasks["set", "one/1"] = number + 1
        ledger.finish("judge", number, "key", {"benchmarks": part.as_json(index)})
    index.save(tmp_path / "stages" / "benchmarks.npz")
    found = benchmarks(ledger)
    assert (found["documents"], found["dropped"], found["tasks"]) == (15, 6, [["set", "one/1", 6]])
    page = _benchmarks(found)
    assert "<td>6</td><td>1</td><td>1</td>" in page
    assert "set one/1" in page
    assert "quiet" in page
