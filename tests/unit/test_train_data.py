"""Every batch is a function of configuration, seed and step, and reads each document once an epoch."""

import dataclasses
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from midfill.config.corpus.documents import FimConfig
from midfill.config.train import BatchConfig, DataConfig, SourceConfig
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data import IGNORED, Batch, Data
from token_shards import byte_tokenizer, document, write_token_shards

LENGTH = 32
BATCH = BatchConfig(sequences=8, first=3, ramp_tokens=40 * LENGTH, micro=4)
NOTHING = FimConfig(rate=0.0)
ROWS = 1 << 20  # ids of the corpus in which every token has a number of its own


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> list[Path]:
    """Two corpora of random text."""
    chance = random.Random(0)
    folders = []
    for size in (150, 60):
        texts = [
            "".join(chance.choices("inre é\n漢", k=chance.randint(3, 50))) for _ in range(size)
        ]
        ids = [document(tokenizer, text) for text in texts]
        folder = tmp_path_factory.mktemp("corpus")
        folders.append(write_token_shards(folder, ids[10:], ids[:10], vocabulary=tokenizer.rows))
    return folders


@pytest.fixture(scope="module")
def config(corpora: list[Path]) -> DataConfig:
    weights = (3.0, 1.0)
    sources = tuple(
        SourceConfig(path=str(path), weight=weight)
        for path, weight in zip(corpora, weights, strict=True)
    )
    return DataConfig(sources=sources, length=LENGTH, block_tokens=600, workers=0)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataConfig, Tokenizer, list[range]]:
    """A corpus in which token n occurs once, a tokenizer that allows it, and the documents."""
    folder = tmp_path_factory.mktemp("numbered")
    tokenizer = byte_tokenizer(folder / "tokenizer")
    tokenizer.pad_to(ROWS)
    chance, ends = random.Random(1), [300]
    for _ in range(400):
        ends.append(ends[-1] + chance.choice([1, 2, 9, 30, 31, 32, 33, 64, 200]))
    documents = [range(a, b) for a, b in itertools.pairwise(ends)]
    arrays = [np.array(one) for one in documents]
    write_token_shards(folder, arrays, vocabulary=ROWS, dtype="<u4")
    source = SourceConfig(path=str(folder))
    made = DataConfig(sources=(source,), length=LENGTH, block_tokens=700, fim=NOTHING, workers=0)
    return made, tokenizer, documents


def equal(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        if field.name != "documents"
        else one.documents == other.documents
        for field in dataclasses.fields(Batch)
    )


def joined(batches: Sequence[Batch]) -> Batch:
    return Batch(
        tokens=np.concatenate([one.tokens for one in batches]),
        targets=np.concatenate([one.targets for one in batches]),
        documents=tuple(pieces for one in batches for pieces in one.documents),
        sources=np.concatenate([one.sources for one in batches]),
    )


@pytest.mark.parametrize("kept", [1, 2, 100])
def test_a_batch_does_not_depend_on_what_was_read(
    config: DataConfig, tokenizer: Tokenizer, kept: int
):
    straight = Data.open(config, BATCH, 0, tokenizer)
    want = [straight.batch(step) for step in range(60)]
    again = Data.open(config, BATCH, 0, tokenizer, kept_blocks=kept)
    for step in random.Random(kept).sample(range(60), 60):
        assert equal(again.batch(step), want[step])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_nothing(config: DataConfig, tokenizer: Tokenizer, workers: int):
    data = Data.open(replace(config, workers=workers), BATCH, 0, tokenizer)
    batches = data.prefetch(5, rank=1, world=2)
    for want in range(5, 45):
        step, batch = next(batches)
        assert step == want
        assert equal(batch, data.batch(step, rank=1, world=2))
    batches.close()


@pytest.mark.parametrize("world", [2, 4, 16])
def test_processes_share_the_batch_of_one(config: DataConfig, tokenizer: Tokenizer, world: int):
    data = Data.open(config, BATCH, 0, tokenizer)
    for step in (0, 1, 20):
        parts = [data.batch(step, rank, world) for rank in range(world)]
        assert equal(joined(parts), data.batch(step))
        sizes = [len(part.tokens) for part in parts]
        assert sum(sizes) == data.sequences_at(step)
        assert max(sizes) - min(sizes) <= 1


def test_another_seed_gives_other_data(config: DataConfig, tokenizer: Tokenizer):
    one, other = (Data.open(config, BATCH, seed, tokenizer) for seed in (0, 1))
    assert not any(np.array_equal(one.batch(i).tokens, other.batch(i).tokens) for i in range(9))


def epoch(data: Data, number: int) -> Batch:
    """All sequences of one epoch of data with one source and one sequence a step."""
    (size,) = data.epoch_sequences
    return joined([data.batch(step) for step in range(number * size, (number + 1) * size)])


@pytest.mark.parametrize("least", [0, 31])
def test_an_epoch_reads_every_token_once_but_for_the_surplus(numbered, least: int):
    config, tokenizer, documents = numbered
    config = replace(config, sources=(replace(config.sources[0], least_tokens=least),))
    data = Data.open(config, BatchConfig(sequences=1), 0, tokenizer)
    (size,) = data.epoch_sequences
    wanted = {token for one in documents if len(one) >= least for token in one}
    for number in range(3):
        read = Counter(epoch(data, number).tokens.ravel().tolist())
        assert max(read.values()) == 1
        assert read.keys() <= wanted
        assert len(read) == size * LENGTH
    blocks = round(len(wanted) / 700)
    assert 0 < len(wanted) - size * LENGTH <= blocks * LENGTH


def test_epochs_have_other_orders(numbered):
    config, tokenizer, _ = numbered
    data = Data.open(config, BatchConfig(sequences=1), 0, tokenizer)
    first, second = epoch(data, 0), epoch(data, 1)
    rows = {tuple(row) for row in first.tokens.tolist()}
    assert len(rows & {tuple(row) for row in second.tokens.tolist()}) < len(rows) / 10


def test_nothing_crosses_documents(numbered):
    config, tokenizer, documents = numbered
    data = Data.open(config, BatchConfig(sequences=1), 0, tokenizer)
    batch = epoch(data, 0)
    of = {token: i for i, one in enumerate(documents) for token in one}
    ends = {one[-1] for one in documents}
    for tokens, targets, pieces in zip(
        batch.tokens.tolist(), batch.targets.tolist(), batch.documents, strict=True
    ):
        assert sum(pieces) == LENGTH
        borders = np.cumsum(pieces)[:-1]
        runs = np.split(np.array([of[token] for token in tokens]), borders)
        assert all(len(set(run.tolist())) == 1 for run in runs)
        assert all(a[0] != b[0] for a, b in itertools.pairwise(runs))
        for token, target in zip(tokens, targets, strict=True):
            assert target == (IGNORED if token in ends else token + 1)


def test_without_masks_all_is_predicted(numbered):
    config, tokenizer, _ = numbered
    masked = Data.open(config, BATCH, 0, tokenizer).batch(3)
    whole = Data.open(replace(config, mask_documents=False), BATCH, 0, tokenizer).batch(3)
    assert np.array_equal(whole.tokens, masked.tokens)
    assert whole.documents == ((LENGTH,),) * len(whole.tokens)
    assert np.array_equal(whole.tokens[:, 1:], whole.targets[:, :-1])
    shown = masked.targets != IGNORED
    assert np.array_equal(whole.targets[shown], masked.targets[shown])


def test_a_corpus_shorter_than_a_sequence_begins_again(tmp_path: Path):
    tokenizer = byte_tokenizer(tmp_path / "tokenizer")
    write_token_shards(tmp_path, [[65, 66, 67], [70, 71]], vocabulary=tokenizer.rows)
    config = DataConfig(sources=(SourceConfig(path=str(tmp_path)),), length=12, fim=NOTHING)
    data = Data.open(config, BatchConfig(sequences=1), 0, tokenizer)
    assert data.epoch_sequences == (1,)
    batch = data.batch(0)
    tokens = batch.tokens[0].tolist()
    assert tokens == (tokens[:5] * 3)[:12]
    assert sorted(tokens[:5]) == [65, 66, 67, 70, 71]
    assert batch.documents[0] in ((3, 2, 3, 2, 2), (2, 3, 2, 3, 2))


def test_held_out_sequences_are_the_same_in_every_run(config: DataConfig, tokenizer: Tokenizer):
    one = Data.open(config, BATCH, 0, tokenizer).held_out(12, 24)
    other = Data.open(replace(config, block_tokens=99), BATCH, 5, tokenizer).held_out(12, 24)
    assert [len(batch.tokens) for batch in one] == [4, 4, 4]  # `micro` at a time
    assert all(equal(a, b) for a, b in zip(one, other, strict=True))
    assert Counter(joined(one).sources.tolist()) == {0: 9, 1: 3}  # by weight


def test_held_out_documents_are_held_out(tmp_path: Path):
    tokenizer = byte_tokenizer(tmp_path / "tokenizer")
    write_token_shards(tmp_path, [[1] * 50], [[2] * 9, [3] * 12], vocabulary=tokenizer.rows)
    config = DataConfig(sources=(SourceConfig(path=str(tmp_path)),), length=12)
    data = Data.open(config, BATCH, 0, tokenizer)
    (batch,) = data.held_out(100, 10)  # 21 tokens are two sequences and a target
    assert Counter(batch.tokens.ravel().tolist()) in ({2: 9, 3: 11}, {2: 8, 3: 12})
    assert data.held_out(4, 21) == []


def test_nothing_held_out_gives_no_batches(numbered):
    config, tokenizer, _ = numbered
    assert Data.open(config, BATCH, 0, tokenizer).held_out(4, 16) == []


def test_a_million_documents_open_at_once(tmp_path: Path):
    tokenizer = byte_tokenizer(tmp_path / "tokenizer")
    size, many = 3, 1_000_000
    write_token_shards(tmp_path, [[65] * size * many], vocabulary=tokenizer.rows, shards=1)
    starts = np.arange(0, size * many, size, dtype="<u8")
    starts.tofile(tmp_path / "train-00000.starts.bin")
    write_index_of_many(tmp_path, many)
    config = DataConfig(sources=(SourceConfig(path=str(tmp_path)),), length=512)
    begin = time.process_time()
    data = Data.open(config, BATCH, 0, tokenizer)
    assert time.process_time() - begin < 2
    assert data.epoch_sequences[0] > 0.99 * size * many / 512


def write_index_of_many(folder: Path, many: int) -> None:
    """Say in an index of one shard that it has so many documents."""
    from midfill.corpus.shards import INDEX
    from midfill.corpus.whole import read_sealed, write_sealed

    index = read_sealed(folder / INDEX)
    assert index is not None
    del index["seal"]
    index["shards"][0]["documents"] = many
    write_sealed(folder / INDEX, index)
