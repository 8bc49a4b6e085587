"""Every network configuration that is compared with transformers, and how its weights are made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from conftest import randomise

VOCAB = 320


def _yarn(mscale: float | None, all_dim: float | None) -> dict[str, Any]:
    scaling = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 40.0,
        "beta_fast": 32,
        "beta_slow": 1,
        "original_max_position_embeddings": 4096,
    }
    return scaling | {
        k: v for k, v in (("mscale", mscale), ("mscale_all_dim", all_dim)) if v is not None
    }


def _v2(**changes: Any) -> DeepseekV2Config:
    values: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "q_lora_rank": None,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "n_routed_experts": 16,
        "num_experts_per_tok": 6,
        "n_shared_experts": 2,
        "moe_intermediate_size": 24,
        "first_k_dense_replace": 1,
        "topk_method": "greedy",
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "max_position_embeddings": 163840,
        "rope_parameters": _yarn(0.707, 0.707),
    }
    return DeepseekV2Config(**(values | changes))


def _llama(**changes: Any) -> LlamaConfig:
    values: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 16384,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 100000.0, "factor": 4.0},
    }
    return LlamaConfig(**(values | changes))


def _qwen2(**changes: Any) -> Qwen2Config:
    values: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    }
    return Qwen2Config(**(values | changes))


@dataclass(frozen=True)
class Case:
    """One configuration, by the name that stands in the documentation."""

    name: str
    make: Callable[[], Any]


GROUPS_8 = {"topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3}
GROUPS_4 = {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
REAL_HEADS = {
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "kv_lora_rank": 512,
}
CASES = [
    Case("V2: no query compression, greedy 16 experts top 6, yarn 0.707", _v2),
    Case(
        "V2: query compression, groups 8/3, x16, yarn 1.0",
        lambda: _v2(
            q_lora_rank=48, routed_scaling_factor=16.0, rope_parameters=_yarn(1.0, 1.0), **GROUPS_8
        ),
    ),
    Case("V2: query compression, greedy, yarn 0.707", lambda: _v2(q_lora_rank=48)),
    Case(
        "V2: no query compression, groups 4/2, top 3",
        lambda: _v2(num_experts_per_tok=3, **GROUPS_4),
    ),
    Case("V2: mscale 1.0 / 0.707", lambda: _v2(rope_parameters=_yarn(1.0, 0.707))),
    Case("V2: yarn without mscale", lambda: _v2(rope_parameters=_yarn(None, None))),
    Case(
        "V2: no rope scaling",
        lambda: _v2(rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    ),
    Case("V2: head sizes 128/64/128, latent 512", lambda: _v2(**REAL_HEADS)),
    Case("V2: attention bias", lambda: _v2(attention_bias=True, q_lora_rank=48)),
    Case("V2: all layers dense", lambda: _v2(first_k_dense_replace=3)),
    Case(
        "V2: tied embedding, one shared expert",
        lambda: _v2(tie_word_embeddings=True, n_shared_experts=1),
    ),
    Case("V1: multi-head, linear x4", _llama),
    Case("V1: grouped 4:2, linear x4", lambda: _llama(num_key_value_heads=2)),
    Case("V1: multi-query, linear x4", lambda: _llama(num_key_value_heads=1)),
    Case(
        "SmolLM2: 9 heads, 3 key/value heads, tied",
        lambda: _llama(
            hidden_size=72,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        ),
    ),
    Case(
        "llama: explicit head width, biases, llama3 scaling",
        lambda: _llama(
            head_dim=32,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 512,
            },
        ),
    ),
    Case("llama: yarn", lambda: _llama(rope_parameters=_yarn(None, None))),
    Case("Qwen2: biases, untied", _qwen2),
    Case("Qwen2: biases, tied", lambda: _qwen2(tie_word_embeddings=True)),
]
REFERENCE = {
    "deepseek_v2": DeepseekV2ForCausalLM,
    "llama": LlamaForCausalLM,
    "qwen2": Qwen2ForCausalLM,
}


def reference(case: Case) -> PreTrainedModel:
    """transformers' network of a case, eager attention, float32, weights far from uniform."""
    config = case.make()
    config._attn_implementation = "eager"
    network = REFERENCE[config.model_type](config).eval()
    randomise(network)
    if config.tie_word_embeddings:  # the head too: keep its logits at the magnitude of the others
        with torch.no_grad():
            network.get_input_embeddings().weight.mul_(0.4)
    return network


def tokens(rows: int = 2, length: int = 96, seed: int = 1) -> torch.Tensor:
    """Random ids [rows, length]."""
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))
