"""The networks that midfill knows by name. Sources: released configurations, DeepSeek-Coder
Table 2, DeepSeek-Coder-V2 §3."""

from collections.abc import Callable
from dataclasses import replace

from midfill.config.model import (
    GQAConfig,
    LinearScaling,
    MLAConfig,
    ModelConfig,
    MoEConfig,
    RopeConfig,
    YarnScaling,
)


def _coder_v1(dim: int, layers: int, heads: int, kv_heads: int, hidden: int) -> ModelConfig:
    """A DeepSeek-Coder V1 size: what they share is filled in. DeepSeek-Coder §3."""
    return ModelConfig(
        family="llama",
        vocab=32256,
        dim=dim,
        layers=layers,
        hidden=hidden,
        attention=GQAConfig(heads=heads, kv_heads=kv_heads, head_dim=128),
        rope=RopeConfig(dim=128, theta=100000.0, scaling=LinearScaling(factor=4.0)),
        context=16384,
        bos=32013,
        eos=(32014,),
    )


def deepseek_coder_1_3b() -> ModelConfig:
    """DeepSeek-Coder 1.3B, multi-head attention."""
    return _coder_v1(2048, 24, 16, 16, 5504)


def deepseek_coder_5_7b_mqa() -> ModelConfig:
    """DeepSeek-Coder 5.7B, multi-query attention."""
    return _coder_v1(4096, 32, 32, 1, 11008)


def deepseek_coder_6_7b() -> ModelConfig:
    """DeepSeek-Coder 6.7B, multi-head attention."""
    return _coder_v1(4096, 32, 32, 32, 11008)


def deepseek_coder_33b() -> ModelConfig:
    """DeepSeek-Coder 33B, grouped-query attention with 8 groups."""
    return _coder_v1(7168, 62, 56, 8, 19200)


def deepseek_coder_v2_lite() -> ModelConfig:
    """DeepSeek-Coder-V2-Lite: 16B, 2.4B active, no query compression."""
    return ModelConfig(
        family="deepseek_v2",
        vocab=102400,
        dim=2048,
        layers=27,
        hidden=10944,
        attention=MLAConfig(),
        rope=RopeConfig(
            dim=64,
            scaling=YarnScaling(factor=40.0, trained=4096, mscale=0.707, mscale_all_dim=0.707),
        ),
        moe=MoEConfig(),
        context=163840,
        bos=100000,
        eos=(100001,),
    )


def deepseek_coder_v2() -> ModelConfig:
    """DeepSeek-Coder-V2: 236B, 21B active. Its mscale of 1.0 is inferred, not published."""
    return replace(
        deepseek_coder_v2_lite(),
        dim=5120,
        layers=60,
        hidden=12288,
        attention=MLAConfig(heads=128, q_rank=1536),
        rope=RopeConfig(
            dim=64, scaling=YarnScaling(factor=40.0, trained=4096, mscale=1.0, mscale_all_dim=1.0)
        ),
        moe=MoEConfig(
            experts=160,
            hidden=1536,
            method="group_limited_greedy",
            groups=8,
            top_groups=3,
            scale=16.0,
        ),
    )


def tiny() -> ModelConfig:
    """Every part of V2 (query compression, groups, shared experts, YaRN) in under a megabyte."""
    return ModelConfig(
        family="deepseek_v2",
        vocab=512,
        dim=64,
        layers=3,
        hidden=128,
        attention=MLAConfig(heads=4, q_rank=32, kv_rank=32, nope_dim=16, rope_dim=8, v_dim=16),
        rope=RopeConfig(
            dim=8,
            scaling=YarnScaling(factor=40.0, trained=4096, mscale=0.707, mscale_all_dim=0.707),
        ),
        moe=MoEConfig(
            experts=8,
            top_k=2,
            hidden=32,
            shared=2,
            method="group_limited_greedy",
            groups=4,
            top_groups=2,
            scale=2.0,
        ),
        context=2048,
        dtype="float32",
    )


MODELS: dict[str, Callable[[], ModelConfig]] = {
    "deepseek-coder-1.3b": deepseek_coder_1_3b,
    "deepseek-coder-5.7b-mqa": deepseek_coder_5_7b_mqa,
    "deepseek-coder-6.7b": deepseek_coder_6_7b,
    "deepseek-coder-33b": deepseek_coder_33b,
    "deepseek-coder-v2-lite": deepseek_coder_v2_lite,
    "deepseek-coder-v2": deepseek_coder_v2,
    "tiny": tiny,
}
