"""Recipes of training runs: functions that return a configuration without its data.

Numbers of the papers: DeepSeek-Coder §3 and table 2, DeepSeek-V2 §3.1 and appendix B,
DeepSeek-Coder-V2 §3. Batches there are counted in sequences.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from midfill.config.corpus.documents import FimConfig
from midfill.config.model import (
    LinearScaling,
    MLAConfig,
    ModelConfig,
    MoEConfig,
    RopeConfig,
    YarnScaling,
)
from midfill.config.train import (
    BalanceConfig,
    BatchConfig,
    DataConfig,
    KeepConfig,
    OptimiserConfig,
    ScheduleConfig,
    SourceConfig,
    TrainConfig,
)
from midfill.errors import ConfigError
from midfill.recipes import models

V1_THIRDS = ScheduleConfig(
    shape="multi_step", warmup_steps=2000, at=(1 / 3, 2 / 3), factor=10**-0.5
)  # DeepSeek-Coder §3.5: each stage the root of a tenth of the one before
NO_HOLES = FimConfig(rate=0.0)  # DeepSeek-V2 tells of none
BATCH_TOKENS = 1 << 17  # of a step of longer context, for models whose papers say nothing; ours


def small_moe(
    dim: int,
    layers: int,
    heads: int,
    kv_rank: int,
    moe: MoEConfig,
    *,
    vocab: int,
    context: int,
) -> ModelConfig:
    """A small network with latent attention and experts.

    Its key and value widths are equal, which the fused kernels of a processor want; its queries are
    compressed as the keys are, because llama.cpp opens no other small network of this family.
    """
    return ModelConfig(
        family="deepseek_v2",
        vocab=vocab,
        dim=dim,
        layers=layers,
        hidden=4 * moe.hidden * moe.top_k // 2,
        attention=MLAConfig(
            heads=heads, q_rank=kv_rank, kv_rank=kv_rank, nope_dim=48, rope_dim=16, v_dim=64
        ),
        rope=RopeConfig(dim=16),
        moe=moe,
        context=context,
        tie_embedding=True,
        dtype="float32",
    )


def tiny() -> TrainConfig:
    """Minutes on two cores: enough to see a loss fall and snippets learnt by heart."""
    moe = MoEConfig(experts=8, top_k=2, hidden=128, shared=1, balance_alpha=0.01)
    return TrainConfig(
        model=small_moe(192, 4, 4, 96, moe, vocab=4096, context=512),
        init_std=0.02,
        tokens=2_000_000,
        data=DataConfig(length=256, block_tokens=1 << 18),
        batch=BatchConfig(sequences=16, micro=16),
        optimiser=OptimiserConfig(kind="muon", lr=3e-3, muon_lr=0.01),
        schedule=ScheduleConfig(shape="stable_decay", warmup_steps=20, final=0.0, decay=0.4),
        balance=BalanceConfig(expert=0.01),
        keep=KeepConfig(every_steps=200, evaluate_every=100, sample_every=200),
    )


def small() -> TrainConfig:
    """An hour on two cores."""
    moe = MoEConfig(experts=16, top_k=4, hidden=128, shared=2, balance_alpha=0.01)
    return TrainConfig(
        model=small_moe(256, 6, 4, 128, moe, vocab=8192, context=512),
        init_std=0.02,
        tokens=20_000_000,
        data=DataConfig(length=512),
        batch=BatchConfig(sequences=32, micro=16),
        optimiser=OptimiserConfig(kind="muon", lr=2e-3, muon_lr=0.01),
        schedule=ScheduleConfig(shape="stable_decay", warmup_steps=100, final=0.0, decay=0.4),
        balance=BalanceConfig(expert=0.01),
    )


def nano() -> TrainConfig:
    """The model that midfill ships: 81M weights, 25M of them active; for one graphics processor."""
    moe = MoEConfig(experts=32, top_k=4, hidden=192, shared=2, balance_alpha=0.01)
    return TrainConfig(
        model=small_moe(384, 10, 6, 192, moe, vocab=16384, context=2048),
        init_std=0.02,
        tokens=1_200_000_000,
        data=DataConfig(length=2048, workers=4),
        batch=BatchConfig(sequences=128, micro=64),
        optimiser=OptimiserConfig(kind="muon", lr=2e-3, muon_lr=0.01),
        schedule=ScheduleConfig(shape="stable_decay", warmup_steps=200, final=0.0, decay=0.4),
        balance=BalanceConfig(expert=0.01, bias_rate=0.0),
    )


def deepseek_coder(size: str, batch: int, lr: float) -> TrainConfig:
    """DeepSeek-Coder's pre-training: 1.8T tokens at 4K, FIM 0.5, three stages of the rate.

    With the rotary embedding as it was before the 16K stage (§3.6).
    """
    model = models.MODELS[f"deepseek-coder-{size}"]()
    plain = replace(model.rope, theta=10_000.0, scaling=None)
    return TrainConfig(
        model=replace(model, rope=plain, context=4096),
        tokens=1_800_000_000_000,
        data=DataConfig(length=4096),
        batch=BatchConfig(sequences=batch),
        optimiser=OptimiserConfig(lr=lr),
        schedule=V1_THIRDS,
        checkpointing=True,
    )


def deepseek_coder_16k(size: str, lr: float) -> TrainConfig:
    """The stage of 16K tokens: 1,000 steps of 512 sequences at the last rate (§3.6)."""
    model = models.MODELS[f"deepseek-coder-{size}"]()
    config = long_context(model, 16_384, 1000, before=4096)
    return replace(
        config,
        tokens=1000 * 512 * 16_384,
        batch=BatchConfig(sequences=512, micro=1),
        optimiser=OptimiserConfig(lr=0.1 * lr),
        schedule=ScheduleConfig(shape="stable_decay", warmup_steps=0, final=1.0),
    )


def deepseek_v2_lite() -> TrainConfig:
    """DeepSeek-V2-Lite's pre-training (DeepSeek-V2 appendix B)."""
    return _v2(
        models.deepseek_coder_v2_lite(),
        tokens=5_700_000_000_000,
        batch=BatchConfig(sequences=4608),
        lr=4.2e-4,
        falls=(0.8, 0.9),
        balance=BalanceConfig(expert=0.001),
    )


def deepseek_v2() -> TrainConfig:
    """DeepSeek-V2's pre-training (DeepSeek-V2 §3.1.2): batch ramp, three losses, dropping."""
    return _v2(
        models.deepseek_coder_v2(),
        tokens=8_100_000_000_000,
        batch=BatchConfig(sequences=9216, first=2304, ramp_tokens=225_000_000_000),
        lr=2.4e-4,
        falls=(0.6, 0.9),
        balance=BalanceConfig(expert=0.003, device=0.05, communication=0.02, capacity=1.0),
    )


def _v2(
    model: ModelConfig,
    *,
    tokens: int,
    batch: BatchConfig,
    lr: float,
    falls: tuple[float, ...],
    balance: BalanceConfig,
) -> TrainConfig:
    """What both sizes share: 4K tokens, positions not stretched yet, no holes."""
    return TrainConfig(
        model=replace(model, rope=replace(model.rope, scaling=None), context=4096),
        tokens=tokens,
        data=DataConfig(length=4096, fim=NO_HOLES),
        batch=batch,
        optimiser=OptimiserConfig(lr=lr),
        schedule=ScheduleConfig(shape="multi_step", at=falls),
        balance=balance,
        checkpointing=True,
    )


def coder_v2(base: TrainConfig, *, fim: float) -> TrainConfig:
    """DeepSeek-Coder-V2 §3: 6T further tokens from a V2 checkpoint, cosine to a tenth.

    Holes only in the 16B model (§3.1).
    """
    return replace(
        base,
        tokens=6_000_000_000_000,
        data=replace(base.data, fim=FimConfig(rate=fim)),
        schedule=ScheduleConfig(shape="cosine"),
    )


def extended(model: ModelConfig, context: int) -> ModelConfig:
    """The same network for `context` tokens: its rotary embedding stretched, no weight changed.

    YaRN with the numbers of DeepSeek-Coder-V2 §3.4 for latent attention; for the dense models of V1
    a linear factor and a base of 100,000 (DeepSeek-Coder §3.6). Raises ConfigError.
    """
    scaling, before = model.rope.scaling, model.context
    if isinstance(scaling, YarnScaling):
        before = scaling.trained
    elif isinstance(scaling, LinearScaling):
        before = round(before / scaling.factor)
    elif scaling is not None:
        raise ConfigError(
            "this model's context cannot be extended",
            why="its rotary embedding is stretched in Llama 3's way, which no stage of ours continues",
            fix="take a model with YaRN, linear or no scaling",
        )
    if context < model.context:
        raise ConfigError(
            f"a context of {context:,} is no extension",
            why=f"the model has {model.context:,}",
            fix="give a longer one",
        )
    factor = max(context / before, 1.0)
    if isinstance(model.attention, MLAConfig):
        yarn = YarnScaling(factor=factor, trained=before, mscale=0.707, mscale_all_dim=0.707)
        return replace(model, context=context, rope=replace(model.rope, scaling=yarn))
    theta = max(model.rope.theta, 100_000.0)
    linear = replace(model.rope, scaling=LinearScaling(factor=factor), theta=theta)
    return replace(model, context=context, rope=linear)


def long_context(model: ModelConfig, length: int, steps: int, *, before: int = 0) -> TrainConfig:
    """A stage of longer context, as in DeepSeek-Coder-V2 §3.4, for any model.

    Half of the sequences are of documents with more than `before` tokens: the paper up-samples long
    ones and does not say how much.
    """
    sequences = max(BATCH_TOKENS // length, 8)
    return TrainConfig(
        model=model,
        tokens=steps * sequences * length,
        data=DataConfig(
            length=length,
            sources=(SourceConfig(path=""), SourceConfig(path="", least_tokens=before)),
        ),
        batch=BatchConfig(sequences=sequences, micro=1),
        optimiser=OptimiserConfig(lr=4.2e-5),
        schedule=ScheduleConfig(shape="cosine", warmup_steps=min(20, steps // 10)),
        checkpointing=True,
    )


def lite_long(length: int, batch: int) -> TrainConfig:
    """A stage of DeepSeek-Coder-V2-Lite as published: 1,000 steps."""
    config = long_context(models.deepseek_coder_v2_lite(), length, 1000, before=4096)
    return replace(
        config, tokens=1000 * batch * length, batch=BatchConfig(sequences=batch, micro=1)
    )


RUNS: Mapping[str, Callable[[], TrainConfig]] = {
    "tiny": tiny,
    "small": small,
    "nano": nano,
    "deepseek-coder-1.3b": lambda: deepseek_coder("1.3b", 1024, 5.3e-4),
    "deepseek-coder-6.7b": lambda: deepseek_coder("6.7b", 2304, 4.2e-4),
    "deepseek-coder-33b": lambda: deepseek_coder("33b", 3840, 3.5e-4),
    "deepseek-coder-1.3b-16k": lambda: deepseek_coder_16k("1.3b", 5.3e-4),
    "deepseek-coder-6.7b-16k": lambda: deepseek_coder_16k("6.7b", 4.2e-4),
    "deepseek-coder-33b-16k": lambda: deepseek_coder_16k("33b", 3.5e-4),
    "deepseek-v2-lite": deepseek_v2_lite,
    "deepseek-v2": deepseek_v2,
    "deepseek-coder-v2-lite": lambda: coder_v2(deepseek_v2_lite(), fim=0.5),
    "deepseek-coder-v2": lambda: coder_v2(deepseek_v2(), fim=0.0),
    "deepseek-coder-v2-lite-32k": lambda: lite_long(32_768, 1152),
    "deepseek-coder-v2-lite-128k": lambda: lite_long(131_072, 288),
}
CONTINUED = frozenset(
    name for name in RUNS if name.startswith("deepseek-coder-v2") or name.endswith("-16k")
)  # runs that go on from weights of an earlier one
