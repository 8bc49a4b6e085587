"""A bias on the choice of experts: kept by every file it goes into, and needed by who reads it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import midfill
from conftest import randomise, write_byte_tokenizer
from midfill.config.model import CHOICE_BIAS, ModelConfig, MoEConfig
from midfill.config.train import BalanceConfig
from midfill.errors import CheckpointError, ConfigError
from midfill.kernels.cpu import native
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import convert, save_hf
from midfill.model.hf_config import parse_config, to_hf_config
from midfill.model.native import can_run
from midfill.model.transformer import Transformer
from midfill.train.balance import routers
from small_runs import TEXT, small_corpus, small_latent, small_run, trained

BIASED = BalanceConfig(expert=0.0, bias_rate=0.02)
GROUPED = MoEConfig(
    experts=8, top_k=2, hidden=32, method="group_limited_greedy", groups=4, top_groups=2
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory):
    """40 steps that moved the bias of two layers."""
    folder = tmp_path_factory.mktemp("run") / "run"
    made, _ = trained(small_run(corpus, small_latent(), 40, balance=BIASED), folder)
    return made


@pytest.fixture(scope="module")
def final(run) -> Path:
    return run.folder / "final"


def biases(network: Transformer) -> list[torch.Tensor]:
    found = [router.e_score_correction_bias for router in routers(network).values()]
    return [bias for bias in found if bias is not None]


def written_network(folder: Path, config: ModelConfig) -> Transformer:
    """A network with random weights and bias in a folder."""
    network = Transformer(config)
    randomise(network)
    for bias in biases(network):
        bias.copy_(0.3 * torch.randn(len(bias), generator=torch.Generator().manual_seed(1)))
    save_hf(network, folder)
    write_byte_tokenizer(folder)
    return network


def small(**changes) -> ModelConfig:
    return small_latent(vocab=320, **changes)


def biased(moe: MoEConfig | None = None) -> ModelConfig:
    config = small()
    assert config.moe is not None
    return replace(config, moe=replace(moe or config.moe, choice_bias=True))


@torch.no_grad()
def test_what_was_trained_is_what_is_loaded(run, final: Path):
    coder = midfill.load(final, dtype="float32")
    ids = run.tokenizer.encode(TEXT[1000:1100])
    want = run.network.eval()(torch.tensor([ids]))[0]
    torch.testing.assert_close(torch.from_numpy(coder.logits(ids)), want)


@torch.no_grad()
def test_without_its_bias_it_is_another_network(run):
    ids = torch.tensor([run.tokenizer.encode(TEXT[1000:1100])])
    kept = [bias.clone() for bias in biases(run.network)]
    assert all(bias.abs().max() > 0.02 for bias in kept)
    with_bias = run.network.eval()(ids)
    for bias in biases(run.network):
        bias.zero_()
    without = run.network(ids)
    for bias, old in zip(biases(run.network), kept, strict=True):
        bias.copy_(old)
    assert (with_bias - without).abs().max() > 0.01


def test_config_says_so_in_v3s_words(final: Path):
    raw = json.loads((final / "config.json").read_text())
    assert (raw["topk_method"], raw["scoring_func"]) == ("noaux_tc", "softmax")
    assert (raw["n_group"], raw["topk_group"]) == (1, 1)
    stored = load_file(final / "model.safetensors")
    names = [f"model.layers.{layer}.mlp.gate.{CHOICE_BIAS}" for layer in (1, 2)]
    assert [name for name in stored if name.endswith(CHOICE_BIAS)] == names


@pytest.mark.parametrize("moe", [None, GROUPED, replace(GROUPED, method="greedy", top_groups=4)])
def test_a_configuration_comes_back(moe: MoEConfig | None):
    config = biased(moe)
    assert parse_config(to_hf_config(config)) == replace(config, bos=None, eos=())


def test_groups_of_v3_are_refused():
    """They are chosen by the sum of their two best experts."""
    raw = to_hf_config(biased(GROUPED)) | {"topk_method": "noaux_tc"}
    with pytest.raises(CheckpointError, match="noaux_tc"):
        parse_config(raw)


def test_bfloat16_files_keep_the_bias_exactly(tmp_path: Path):
    network = written_network(tmp_path / "a", biased())
    convert(tmp_path / "a", tmp_path / "b", "hf", "BF16")
    convert(tmp_path / "b", tmp_path / "c", "hf", "BF16")
    for folder in ("b", "c"):
        again = load_network(open_checkpoint(tmp_path / folder), torch.bfloat16)
        assert again.dtype == torch.bfloat16
        for bias, want in zip(biases(again), biases(network), strict=True):
            assert torch.equal(bias, want)


def test_a_network_with_a_bias_is_not_for_the_compiled_kernels():
    assert can_run(small()) == (native is not None)
    assert not can_run(biased())


def test_gguf_carries_it_there_and_back(tmp_path: Path):
    written_network(tmp_path / "a", biased())
    convert(tmp_path / "a", tmp_path / "a.gguf", "gguf", "F32")
    convert(tmp_path / "a.gguf", tmp_path / "b", "hf")
    one, other = (midfill.load(tmp_path / name, dtype="float32") for name in ("a", "b"))
    assert other.config.moe == one.config.moe
    ids = list(range(40))
    np.testing.assert_array_equal(one.logits(ids), other.logits(ids))


def test_gguf_cannot_say_that_groups_are_chosen_by_their_best(tmp_path: Path):
    written_network(tmp_path / "a", biased(GROUPED))
    with pytest.raises(CheckpointError, match="bias on the choice of experts within groups"):
        convert(tmp_path / "a", tmp_path / "a.gguf", "gguf")


def test_a_run_goes_on_with_the_bias_of_its_start(run, final: Path, corpus: Path, tmp_path: Path):
    started = small_run(corpus, open_checkpoint(final).config, 1, start=str(final))
    frozen, _ = trained(started, tmp_path / "frozen")
    moved, _ = trained(replace(started, balance=BIASED), tmp_path / "moved")
    for before, kept, after in zip(
        *(biases(one.network) for one in (run, frozen, moved)), strict=True
    ):
        assert torch.equal(before, kept)
        steps = (after - before) / BIASED.bias_rate
        assert set(steps.round(decimals=3).tolist()) <= {-1.0, 0.0, 1.0}
        assert steps.any()


def test_a_bias_may_be_new(corpus: Path, tmp_path: Path):
    plain, _ = trained(small_run(corpus, small_latent(), 2), tmp_path / "plain")
    model = open_checkpoint(tmp_path / "plain" / "final").config
    start = str(tmp_path / "plain" / "final")
    trained(small_run(corpus, model, 3, start=start, balance=BIASED), tmp_path / "biased")
    again = open_checkpoint(tmp_path / "biased" / "final")
    assert not biases(plain.network)
    assert all(bias.any() for bias in biases(load_network(again, torch.float32)))


def test_a_bias_is_not_lost_unsaid(final: Path, corpus: Path, tmp_path: Path):
    model = open_checkpoint(final).config
    assert model.moe is not None
    model = replace(model, moe=replace(model.moe, choice_bias=False))
    with pytest.raises(ConfigError, match="another network"):
        trained(small_run(corpus, model, 1, start=str(final)), tmp_path / "run")
