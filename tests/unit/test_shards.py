"""Token shards: what is written is read again, by numpy alone; damage is named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.pipeline.merge import MergeTask, Slices, merge
from midfill.corpus.shards import (
    FORMAT,
    INDEX,
    TokenShards,
    digest,
    dtype_for,
    write_shard,
)
from midfill.corpus.whole import write_sealed
from midfill.errors import CorpusError

DOCUMENTS = [np.array([7, 1, 8]), np.array([7, 8]), np.array([7, 2, 3, 4, 8])]


def _index(folder: Path, *shards) -> None:
    rows = [
        {name: getattr(shard, name) for name in type(shard).__dataclass_fields__}
        for shard in shards
    ]
    write_sealed(folder / INDEX, {"format": FORMAT, "shards": rows})


@pytest.mark.parametrize(
    ("vocabulary", "dtype"), [(32_256, "<u2"), (65_536, "<u2"), (65_537, "<u4")]
)
def test_the_type_holds_the_largest_id(vocabulary: int, dtype: str):
    assert dtype_for(vocabulary) == dtype
    assert vocabulary - 1 <= np.iinfo(dtype).max


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_numpy_alone_reads_a_shard(tmp_path: Path, dtype: str):
    shard = write_shard(tmp_path, "train-00000", "train", dtype, DOCUMENTS)
    ids = np.fromfile(tmp_path / "train-00000.bin", dtype)
    starts = np.fromfile(tmp_path / "train-00000.starts.bin", "<u8")
    assert ids.tolist() == [7, 1, 8, 7, 8, 7, 2, 3, 4, 8]
    assert starts.tolist() == [0, 3, 5]
    assert (shard.tokens, shard.documents) == (10, 3)
    assert json.loads((tmp_path / "train-00000.json").read_text())["dtype"] == dtype


def test_documents_come_back(tmp_path: Path):
    one = write_shard(tmp_path, "train-00000", "train", "<u4", DOCUMENTS)
    empty = write_shard(tmp_path, "train-00001", "train", "<u4", [])
    other = write_shard(tmp_path, "held_out-00000", "held_out", "<u4", DOCUMENTS[:1])
    _index(tmp_path, one, empty, other)
    shards = TokenShards.open(tmp_path)
    assert [ids.tolist() for ids in shards.documents()] == [d.tolist() for d in DOCUMENTS]
    assert [ids.tolist() for ids in shards.documents("held_out")] == [[7, 1, 8]]


def test_a_cut_file_is_named(tmp_path: Path):
    shard = write_shard(tmp_path, "train-00000", "train", "<u4", DOCUMENTS)
    _index(tmp_path, shard)
    path = tmp_path / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match=r"train-00000\.bin has 39 bytes"):
        list(TokenShards.open(tmp_path).documents())


@pytest.mark.parametrize("ending", [".bin", ".starts.bin"])
def test_a_flipped_bit_is_named_where_digests_are_compared(tmp_path: Path, ending: str):
    shard = write_shard(tmp_path, "train-00000", "train", "<u4", DOCUMENTS)
    _index(tmp_path, shard)
    TokenShards.open(tmp_path).check(digests=True)
    path = tmp_path / f"train-00000{ending}"
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    TokenShards.open(tmp_path).check()
    with pytest.raises(CorpusError, match=rf"train-00000{ending} is damaged"):
        TokenShards.open(tmp_path).check(digests=True)
    path.unlink()
    with pytest.raises(CorpusError, match=rf"there is no .*train-00000{ending}"):
        TokenShards.open(tmp_path).check()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"tokens": 10', b'"tokens": 11'),
        lambda data: data.replace(b'"shards": [', b'"shard": ['),
        lambda data: b"\xff" + data,
        lambda data: b"[" * 100_000,
        lambda data: b"[]",
        lambda data: b"{}",
    ],
)
def test_a_changed_index_is_named(tmp_path: Path, change: Callable[[bytes], bytes]):
    _index(tmp_path, write_shard(tmp_path, "train-00000", "train", "<u4", DOCUMENTS))
    path = tmp_path / INDEX
    data = path.read_bytes()
    assert change(data) != data
    path.write_bytes(change(data))
    with pytest.raises(CorpusError, match=r"index\.json is damaged"):
        TokenShards.open(tmp_path)


def test_a_folder_without_an_index_is_named(tmp_path: Path):
    with pytest.raises(CorpusError, match="holds no finished shards"):
        TokenShards.open(tmp_path)


def test_an_interrupted_shard_is_not_there(tmp_path: Path):
    def documents():
        yield DOCUMENTS[0]
        raise KeyboardInterrupt

    write_shard(tmp_path, "train-00000", "train", "<u4", DOCUMENTS)
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, "train-00000", "train", "<u4", documents())
    assert not (tmp_path / "train-00000.json").exists()
    assert not list(tmp_path.glob("*.part"))


def _files(folder: Path, parts: list[list[tuple[int, int]]]) -> tuple[list[Path], Slices]:
    """Files of tokens in which document `d` is `n` times the id `d`; its key is 1000 - d."""
    paths, rows = [], []
    for number, documents in enumerate(parts):
        path, start = folder / f"{len(parts)}-{number}.bin", 0
        for document, count in documents:
            rows.append((number, start, count, 1000 - document))
            start += count
        ids = [document for document, count in documents for _ in range(count)]
        np.array(ids, "<u4").tofile(path)
        paths.append(path)
    file, start, tokens, key = zip(*rows, strict=True)
    return paths, Slices(
        np.array(file, np.uint32),
        np.array(start, np.uint64),
        np.array(tokens, np.uint64),
        np.array(key, np.uint64),
    )


def _shards(folder: Path, parts: list[list[tuple[int, int]]], size: int) -> list[bytes]:
    paths, slices = _files(folder, parts)
    found = []
    for i, chosen in enumerate(slices.in_order().cut(size)):
        name = f"train-{i:05}"
        merge(
            MergeTask(
                number=i,
                key="",
                bytes=0,
                ledger=Ledger(folder / "work"),
                folder=folder,
                name=name,
                split="train",
                dtype="<u4",
                files=paths,
                slices=chosen,
            )
        )
        found.append((folder / f"{name}.bin").read_bytes())
    return found


def test_shards_do_not_know_the_parts(tmp_path: Path):
    documents = [(d, 1 + d * 7 % 11) for d in range(40)]
    whole = _shards(tmp_path, [documents], 50)
    parts = _shards(tmp_path, [documents[1::2][::-1], documents[::4], documents[2::4]], 50)
    assert whole == parts
    assert len(whole) > 3
    joined = np.frombuffer(b"".join(whole), "<u4")
    assert joined.tolist() == [d for d, n in reversed(documents) for _ in range(n)]


def test_the_digest_depends_on_every_shard(tmp_path: Path):
    one = write_shard(tmp_path, "a", "train", "<u4", DOCUMENTS)
    two = write_shard(tmp_path, "b", "train", "<u4", DOCUMENTS[::-1])
    assert len({digest([one]), digest([two]), digest([one, two]), digest([two, one])}) == 4
