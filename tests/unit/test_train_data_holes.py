"""Holes of training documents: as many as asked, other ones in each epoch, and no text is lost."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from midfill.config.corpus.documents import FimConfig
from midfill.config.train import BatchConfig, DataConfig, SourceConfig
from midfill.errors import ConfigError
from midfill.tokenizer.holes import undone
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data import Data
from midfill.train.data.documents import Documents
from midfill.train.data.holes import Holes
from midfill.train.data.source import Source
from token_shards import byte_tokenizer, document, write_token_shards

DOCUMENTS = 400


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Each begins with a number of its own."""
    chance = random.Random(2)
    return [
        f"{i}" + "".join(chance.choices("inre é\n漢😀", k=chance.randint(3, 60)))
        for i in range(DOCUMENTS)
    ]


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, texts: list[str]
) -> Path:
    ids = [document(tokenizer, text) for text in texts]
    return write_token_shards(tmp_path_factory.mktemp("corpus"), ids, vocabulary=tokenizer.rows)


def config(folder: Path, fim: FimConfig | None) -> DataConfig:
    return DataConfig(
        sources=(SourceConfig(path=str(folder)),), length=64, block_tokens=4000, fim=fim, workers=0
    )


def read(folder: Path, fim: FimConfig | None, tokenizer: Tokenizer, epoch: int) -> list[list[int]]:
    """The whole documents of an epoch, without begin and end."""
    source = Source(0, config(folder, fim), tokenizer, seed=0, kept=1)
    found = []
    for number in range(len(source._deal.counts)):
        block = source.make(epoch, number)
        for ids in np.split(block.ids, block.starts[1:])[:-1]:  # the last may be cut
            assert ids[0] == tokenizer.bos_id
            assert ids[-1] == tokenizer.eos_id
            found.append(ids[1:-1].tolist())
    return found


def restored(documents: Sequence[list[int]], tokenizer: Tokenizer) -> tuple[list[str], int]:
    """Their texts, and how many had a hole in PSM order."""
    assert tokenizer.fim is not None
    found, holes = [], 0
    for ids in documents:
        parts = undone(ids, tokenizer.fim)
        holes += parts is not None
        found.append("".join(map(tokenizer.decode, parts)) if parts else tokenizer.decode(ids))
    return found, holes


@pytest.mark.parametrize("split", ["character", "line"])
@pytest.mark.parametrize("rate", [0.2, 1.0])
def test_holes_are_as_many_as_asked_and_lose_nothing(
    folder: Path, tokenizer: Tokenizer, texts: list[str], rate: float, split
):
    documents = read(folder, FimConfig(rate=rate, split=split), tokenizer, 0)
    found, holes = restored(documents, tokenizer)
    assert len(found) == len(set(found)) > 0.9 * DOCUMENTS
    assert set(found) <= set(texts)
    deviation = (rate * (1 - rate) * len(found)) ** 0.5
    assert abs(holes - rate * len(found)) <= 4 * deviation


def test_suffix_first_where_asked(folder: Path, tokenizer: Tokenizer, texts: list[str]):
    fim = tokenizer.fim
    assert fim is not None
    for ids in read(folder, FimConfig(rate=1.0, spm_rate=1.0), tokenizer, 0):
        assert ids[:2] == [fim.prefix, fim.suffix]
        end = ids.index(fim.middle)
        # The suffix stands before the rest; joints of prefix and middle are not marked.
        assert tokenizer.decode(ids[end:]) + tokenizer.decode(ids[2:end]) in texts


def test_epochs_cut_elsewhere(folder: Path, tokenizer: Tokenizer):
    epochs = [read(folder, FimConfig(rate=1.0), tokenizer, number) for number in (0, 1)]
    texts = [restored(one, tokenizer)[0] for one in epochs]
    first, second = (dict(zip(t, one, strict=True)) for t, one in zip(texts, epochs, strict=True))
    both = first.keys() & second.keys()
    assert len(both) > 0.8 * DOCUMENTS
    assert sum(first[text] == second[text] for text in both) < 0.05 * len(both)


def test_half_of_the_documents_where_nothing_is_said(folder: Path, tokenizer: Tokenizer):
    said = FimConfig(rate=0.5, spm_rate=0.0, split="character")
    assert read(folder, None, tokenizer, 0) == read(folder, said, tokenizer, 0)


def test_what_is_no_text_stays_as_it_is(tokenizer: Tokenizer):
    fim = tokenizer.fim
    assert fim is not None
    holes = Holes(tokenizer, FimConfig(rate=1.0), 0)
    half = tokenizer.encode("漢")[:2]
    letters = [*tokenizer.encode("i"), *tokenizer.encode("n")] * 3  # "in" is one token
    inside = [*tokenizer.encode("abc"), fim.middle, *tokenizer.encode("def")]
    for odd in (half * 4, letters, inside, tokenizer.encode("ab"), tokenizer.encode("漢é"), []):
        ids = np.array([tokenizer.bos_id, *odd, tokenizer.eos_id])
        assert holes.made(ids, "0:0", 0).tolist() == ids.tolist()
    for whole in ("漢漢漢", "ininin", "abcdef", "abc"):
        assert holes.made(document(tokenizer, whole), "0:0", 0)[1] == fim.prefix


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_holes_displace_few_documents(
    folder: Path, tokenizer: Tokenizer, texts: list[str], rate: float
):
    fim = FimConfig(rate=rate)
    holes = Holes(tokenizer, fim, 0)
    ids = [document(tokenizer, text) for text in texts]
    tokens = sum(len(holes.made(one, f"0:{i}", 0)) for i, one in enumerate(ids))
    (sequences,) = Data.open(config(folder, fim), BatchConfig(), 0, tokenizer).epoch_sequences
    assert 0.97 * tokens < sequences * 64 < tokens


def test_shards_with_holes_stay_as_they_are(
    tmp_path: Path, folder: Path, tokenizer: Tokenizer, texts: list[str]
):
    fim = tokenizer.fim
    assert fim is not None
    ids = [document(tokenizer, text) for text in texts]
    hole = [tokenizer.bos_id, fim.prefix, fim.suffix, fim.middle, 65, tokenizer.eos_id]
    write_token_shards(tmp_path, [*ids, hole], vocabulary=tokenizer.rows)
    found = {tuple(one) for one in read(tmp_path, None, tokenizer, 0)}
    assert found <= {tuple(one[1:-1]) for one in [*(i.tolist() for i in ids), hole]}
    with pytest.raises(ConfigError, match="have holes"):
        Data.open(config(tmp_path, FimConfig(rate=0.1)), BatchConfig(), 0, tokenizer)
    Data.open(config(tmp_path, FimConfig(rate=0.0)), BatchConfig(), 0, tokenizer)


def test_documents_are_numbered_over_all_shards(folder: Path, tokenizer: Tokenizer, texts):
    from midfill.corpus.shards import TokenShards

    documents = Documents(TokenShards.open(folder), "train")
    assert len(documents) == DOCUMENTS
    for number in (0, 133, 134, 399):
        want = document(tokenizer, texts[number])
        assert documents.ids(number).tolist() == want.tolist()
        assert documents.tokens[number] == len(want)


def test_a_tokenizer_without_sentinels_makes_no_holes(tmp_path: Path):
    import json

    tokenizer_folder = tmp_path / "tokenizer"
    byte_tokenizer(tokenizer_folder)
    path = tokenizer_folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"] = content["added_tokens"][:2]
    path.write_text(json.dumps(content))
    tokenizer = Tokenizer.from_folder(tokenizer_folder)
    assert tokenizer.fim is None
    ids = document(tokenizer, "some text")
    write_token_shards(tmp_path, [ids] * 40, vocabulary=tokenizer.rows)
    data = Data.open(config(tmp_path, None), BatchConfig(), 0, tokenizer)
    assert set(data.batch(0).tokens.ravel().tolist()) == set(ids.tolist())
    with pytest.raises(ConfigError, match="no FIM tokens"):
        Data.open(config(tmp_path, FimConfig(rate=0.5)), BatchConfig(), 0, tokenizer)
