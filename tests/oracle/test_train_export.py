"""A network that was really trained, in transformers and llama.cpp: RUN/final and its GGUF file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DeepseekV2ForCausalLM,
    LlamaForCausalLM,
    Qwen2ForCausalLM,
)

import midfill
from llamacpp import greedy
from midfill.config.model import MLAConfig, ModelConfig
from midfill.config.train import BalanceConfig
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import convert
from midfill.recipes.runs import extended
from midfill.train.run import Run
from small_runs import TEXT, small_corpus, small_dense, small_latent, small_run, trained

STEPS = 60
ANSWER = 32
PROMPTS = (TEXT[1000:1080], TEXT[5000:5080])
UNEQUAL = MLAConfig(heads=4, q_rank=32, kv_rank=32, nope_dim=16, rope_dim=8, v_dim=16)
PLAIN_QUERY = MLAConfig(heads=4, kv_rank=32, nope_dim=8, rope_dim=8, v_dim=16)
CLASSES = {
    "deepseek_v2": DeepseekV2ForCausalLM,
    "llama": LlamaForCausalLM,
    "qwen2": Qwen2ForCausalLM,
}
MODELS: dict[str, Callable[[], ModelConfig]] = {
    "latent": small_latent,
    "latent, tied": lambda: small_latent(tie_embedding=True),
    "latent, unequal widths": lambda: small_latent(attention=UNEQUAL),
    "latent, no query compression, tied": lambda: small_latent(
        attention=PLAIN_QUERY, tie_embedding=True
    ),
    "latent, yarn": lambda: extended(small_latent(), 1024),
    "dense": small_dense,
    "dense, tied": lambda: small_dense(tie_embedding=True),
    "dense, linear": lambda: extended(small_dense(), 1024),
    "qwen2, tied": lambda: small_dense("qwen2", tie_embedding=True),
}


class Made(NamedTuple):
    """A run that has ended."""

    run: Run
    final: Path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module", params=MODELS)
def made(
    request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    folder = tmp_path_factory.mktemp("run") / "run"
    run, losses = trained(small_run(corpus, MODELS[request.param](), STEPS), folder)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5]), "it learnt nothing"
    return Made(run, folder / "final")


def prompts(made: Made) -> torch.Tensor:
    return torch.tensor([made.run.tokenizer.encode(prompt) for prompt in PROMPTS])


@torch.no_grad()
def test_transformers_computes_the_logits_of_the_network_that_was_trained(made: Made):
    family = made.run.config.model.family
    theirs = AutoModelForCausalLM.from_pretrained(
        made.final, attn_implementation="eager", dtype=torch.float32
    ).eval()
    assert type(theirs) is CLASSES[family]
    ours = made.run.network.eval()
    ids = prompts(made)
    torch.testing.assert_close(theirs(ids).logits, ours(ids), atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(made.final)
    assert tokenizer.encode(PROMPTS[0], add_special_tokens=False) == ids[0].tolist()


@torch.no_grad()
def test_midfill_computes_them_too(made: Made):
    coder = midfill.load(made.final, dtype="float32")
    ids = prompts(made)
    want = made.run.network.eval()(ids[:1])[0]
    torch.testing.assert_close(torch.from_numpy(coder.logits(ids[0].tolist())), want)


def test_llamacpp_writes_what_midfill_writes(made: Made, tmp_path: Path):
    attention = made.run.config.model.attention
    if isinstance(attention, MLAConfig) and attention.q_rank is None:
        pytest.skip("without query compression llama.cpp takes networks of 26 or 27 layers only")
    path = convert(made.final, tmp_path / "model.gguf", "gguf", "F32")
    coder = midfill.load(made.final, dtype="float32")
    for ids in prompts(made).tolist():
        ours = coder.complete(ids, max_tokens=ANSWER, ignore_eos=True).tokens
        assert greedy(path, ids, ANSWER)[0] == ours


def test_a_bias_on_the_choice_reaches_llamacpp_and_stops_transformers(corpus: Path, tmp_path: Path):
    balance = BalanceConfig(expert=0.0, bias_rate=0.02)
    config = small_run(corpus, small_latent(), STEPS, balance=balance)
    run, _ = trained(config, tmp_path / "run")
    final = tmp_path / "run" / "final"
    test_llamacpp_writes_what_midfill_writes(Made(run, final), tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(final, dtype=torch.float32)
    with pytest.raises(UnboundLocalError):  # it knows no such method, and says it so
        theirs(torch.tensor([[1, 2, 3]]))


def test_half_the_type_is_half_the_file(corpus: Path, tmp_path: Path):
    """Weights are rounded once, when they are written: what was trained stays float32."""
    model = replace(small_latent(), dtype="bfloat16")
    run, _ = trained(small_run(corpus, model, 2), tmp_path / "run")
    assert run.network.dtype == torch.float32
    again = load_network(open_checkpoint(tmp_path / "run" / "final"), torch.bfloat16)
    for (name, kept), written in zip(
        run.network.named_parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(kept.bfloat16(), written), name
