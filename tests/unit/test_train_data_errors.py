"""What is wrong with the data is said before the run, or at the block that shows it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from midfill.config.corpus.documents import FimConfig
from midfill.config.train import BatchConfig, DataConfig, SourceConfig
from midfill.errors import ConfigError, CorpusError
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data import Data
from token_shards import byte_tokenizer, document, write_token_shards

BATCH = BatchConfig(sequences=2)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    ids = [document(tokenizer, f"document {i}") for i in range(30)]
    return write_token_shards(tmp_path / "corpus", ids, ids[:3], vocabulary=tokenizer.rows)


@pytest.fixture
def config(folder: Path) -> DataConfig:
    return DataConfig(sources=(SourceConfig(path=str(folder)),), length=16, workers=0)


def refusal(config: DataConfig, tokenizer: Tokenizer, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        Data.open(config, BATCH, 0, tokenizer)
    return str(caught.value)


def test_no_sources(tokenizer: Tokenizer):
    assert "data.sources is empty" in refusal(DataConfig(), tokenizer, ConfigError)


@pytest.mark.parametrize("ending", [".bin", ".starts.bin"])
@pytest.mark.parametrize("left", [None, 8])
def test_a_damaged_file_is_named(
    folder: Path, config: DataConfig, tokenizer: Tokenizer, ending: str, left: int | None
):
    path = folder / f"train-00001{ending}"
    content = path.read_bytes()
    path.unlink()
    if left is not None:
        path.write_bytes(content[:left])
    assert path.name in refusal(config, tokenizer, CorpusError)


@pytest.mark.parametrize("starts", [(0, 9, 5), (1, 5, 9), (0, 5, 5), (0, 5, 10**6), (0, 5, 2**63)])
def test_starts_in_no_order(tmp_path: Path, tokenizer: Tokenizer, starts: tuple[int, ...]):
    write_token_shards(tmp_path, [[65] * 8] * 3, vocabulary=tokenizer.rows, shards=1)
    np.array(starts, "<u8").tofile(tmp_path / "train-00000.starts.bin")
    config = DataConfig(sources=(SourceConfig(path=str(tmp_path)),), length=16)
    assert "in no order" in refusal(config, tokenizer, CorpusError)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_id_beyond_the_vocabulary(tmp_path: Path, tokenizer: Tokenizer, workers: int):
    write_token_shards(tmp_path, [[65, tokenizer.rows]] * 30, vocabulary=tokenizer.rows)
    source = SourceConfig(path=str(tmp_path))
    data = Data.open(DataConfig(sources=(source,), length=16, workers=workers), BATCH, 0, tokenizer)
    with pytest.raises(CorpusError, match=f"id {tokenizer.rows}"):
        next(data.prefetch(0))


def test_shards_of_another_tokenizer(
    tmp_path: Path, folder: Path, config: DataConfig, tokenizer: Tokenizer
):
    ids = [document(tokenizer, "text")] * 9
    write_token_shards(folder, ids, vocabulary=tokenizer.rows + 1)
    assert "another tokenizer" in refusal(config, tokenizer, ConfigError)
    write_token_shards(folder, ids, vocabulary=tokenizer.rows, tokenizer_sha256="0" * 64)
    assert "another tokenizer" in refusal(config, tokenizer, ConfigError)
    tokenizer.save(tmp_path / "own")
    whole = hashlib.sha256()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        whole.update((tmp_path / "own" / name).read_bytes())
    write_token_shards(folder, ids, vocabulary=tokenizer.rows, tokenizer_sha256=whole.hexdigest())
    Data.open(config, BATCH, 0, tokenizer)
    again = Tokenizer.from_folder(tmp_path / "own")  # as a checkpoint brings it
    Data.open(config, BATCH, 0, again)


def test_documents_that_are_all_too_short(config: DataConfig, tokenizer: Tokenizer):
    sources = (replace(config.sources[0], least_tokens=1000),)
    assert "no document" in refusal(replace(config, sources=sources), tokenizer, ConfigError)


def test_no_documents_to_train_on(tmp_path: Path, tokenizer: Tokenizer):
    write_token_shards(tmp_path, [], [[65, 66]], vocabulary=tokenizer.rows)
    config = DataConfig(sources=(SourceConfig(path=str(tmp_path)),), length=16)
    assert "no documents to train on" in refusal(config, tokenizer, CorpusError)


def test_a_weight_that_never_comes(config: DataConfig, tokenizer: Tokenizer):
    sources = (config.sources[0], replace(config.sources[0], weight=1e-8))
    assert "of the weights" in refusal(replace(config, sources=sources), tokenizer, ConfigError)


def test_the_fingerprint_is_that_of_the_order(
    tmp_path: Path, folder: Path, config: DataConfig, tokenizer: Tokenizer
):
    def fingerprint(config: DataConfig, batch: BatchConfig = BATCH, seed: int = 0) -> str:
        return Data.open(config, batch, seed, tokenizer).fingerprint

    def source(**changes) -> DataConfig:
        return replace(config, sources=(replace(config.sources[0], **changes),))

    known = fingerprint(config)
    moved = folder.rename(tmp_path / "elsewhere")
    config = source(path=str(moved))
    same = [
        fingerprint(config),
        fingerprint(replace(config, workers=3)),
        fingerprint(config, replace(BATCH, micro=1)),
        fingerprint(replace(config, fim=FimConfig())),  # what None means here
    ]
    assert set(same) == {known}
    other = [
        fingerprint(config, seed=1),
        fingerprint(config, BatchConfig(sequences=3)),
        fingerprint(replace(config, length=15)),
        fingerprint(replace(config, block_tokens=99)),
        fingerprint(replace(config, mask_documents=False)),
        fingerprint(replace(config, fim=FimConfig(rate=0.1))),
        fingerprint(source(least_tokens=2)),
        fingerprint(source(weight=2.0)),
    ]
    ids = [document(tokenizer, f"document {i}!") for i in range(30)]
    write_token_shards(moved, ids, vocabulary=tokenizer.rows)
    other.append(fingerprint(config))
    assert len({known, *other}) == 10
