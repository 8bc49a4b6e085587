"""The synthetic Lite file: its bytes are those of the cost model, and both engines open it."""

import sys
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch

import midfill
from midfill.kernels.quant import BY_ID, dequantise
from midfill.model.gguf import GGUFFile

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import make_lite_gguf as lite

# One dense layer and one of 64 experts, few enough to be written and read within a second.
SMALL = replace(lite.ONE_LAYER, layers=2, q_rank=0, matrix="Q4_0", expert_hidden=64)
PROMPT = [100000, 1558, 3752, 7, 13, 48]


@pytest.fixture(scope="module")
def small(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(data, tmp_path_factory, SMALL)


@pytest.fixture(scope="module")
def one_layer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(data, tmp_path_factory, lite.ONE_LAYER)


def written(data: Path, folders: pytest.TempPathFactory, sizes: lite.Sizes) -> Path:
    if not (data / lite.VOCABULARY).is_file():
        pytest.skip(f"no vocabulary of DeepSeek: {data / lite.VOCABULARY}")
    path = folders.mktemp("lite") / "lite.gguf"
    lite.write_lite(path, sizes)
    return path


def test_the_whole_file_has_the_bytes_that_the_cost_model_counts():
    table = list(lite.rows(lite.Sizes()))
    assert len(table) == 404
    assert sum(prod(row.shape) for row in table) == 15_706_484_224
    assert round(sum(row.bytes for row in table) / 1e6, 1) == 8980.2
    assert round(lite.bytes_per_token(table) / 1e6, 1) == 1524.3


def test_the_table_sums_up_to_the_whole():
    table = list(lite.rows(lite.Sizes()))
    kinds = lite.bytes_table(table)
    assert sum(count for _, count, *_ in kinds) == len(table)
    assert sum(size for *_, size, _ in kinds) == sum(row.bytes for row in table)
    assert sum(read for *_, read in kinds) == pytest.approx(lite.bytes_per_token(table))


def test_weights_deviate_as_those_of_a_network(small: Path):
    file = GGUFFile(small)
    raw = torch.from_file(str(small), size=file.bytes, dtype=torch.uint8)
    for name in ("blk.0.attn_q.weight", "blk.1.ffn_down_exps.weight", "output.weight"):
        info = file.tensors[name]
        values = torch.empty(info.shape)
        dequantise(raw[info.offset : info.offset + info.size], BY_ID[info.type_id], values)
        assert 0.019 < values.std() < 0.021, name
        assert values.mean().abs() < 0.003, name  # uniform nibbles lie half a step below zero


def test_the_seed_decides_every_byte(data: Path, tmp_path_factory: pytest.TempPathFactory):
    first, again = (written(data, tmp_path_factory, lite.ONE_LAYER) for _ in range(2))
    assert first.read_bytes() == again.read_bytes()
    lite.write_lite(again, lite.ONE_LAYER, seed=1)
    assert first.read_bytes() != again.read_bytes()


def test_a_missing_vocabulary_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIDFILL_DATA", str(tmp_path))
    with pytest.raises(midfill.errors.ConfigError, match="there is no vocabulary"):
        lite.write_lite(tmp_path / "lite.gguf", lite.ONE_LAYER)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", [pytest.param("small", marks=pytest.mark.slow), "one_layer"])
def test_midfill_and_llamacpp_open_it_and_agree(file: str, request: pytest.FixtureRequest):
    llamacpp = pytest.importorskip("llamacpp", reason="xllamacpp is not installed")
    path = request.getfixturevalue(file)
    tokens, logprobs = llamacpp.greedy(path, PROMPT, 4)
    logits = torch.from_numpy(midfill.load(path, dtype="float32").logits(PROMPT + tokens))
    ours = logits.log_softmax(1)[len(PROMPT) - 1 : -1]
    for row, token, theirs in zip(ours, tokens, logprobs, strict=True):
        assert row[token] > row.max() - 0.05  # llama.cpp rounds activations to 8 bits
        assert theirs is None or row[token] == pytest.approx(theirs, abs=0.05)
