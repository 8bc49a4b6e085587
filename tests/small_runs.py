"""Small runs, really trained: shards of this Python's own sources, and networks of some layers."""

import inspect
import json.decoder
import json.encoder
import json.scanner
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from midfill.config.corpus.documents import FimConfig
from midfill.config.model import GQAConfig, MLAConfig, ModelConfig, MoEConfig, RopeConfig
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
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.build import fitted, new_run, open_run, write_final
from midfill.train.parallel.ranks import Ranks
from midfill.train.run import Run
from token_shards import byte_tokenizer, document, write_token_shards

LENGTH = 64
SEQUENCES = 8
TEXT = "".join(map(inspect.getsource, (json.decoder, json.encoder, json.scanner)))


def small_corpus(folder: Path) -> Path:
    """Pieces of TEXT as token shards with a byte tokenizer; some are held out."""
    tokenizer = byte_tokenizer(folder / "tokenizer")
    pieces = [document(tokenizer, TEXT[i : i + 700]) for i in range(0, len(TEXT), 700)]
    held_out, learnt = pieces[::10], [p for i, p in enumerate(pieces) if i % 10]
    write_token_shards(folder / "shards", learnt, held_out, vocabulary=tokenizer.rows)
    return folder


def small_latent(**changes: Any) -> ModelConfig:
    """Latent attention and experts, of equal key and value widths."""
    attention = MLAConfig(heads=4, q_rank=32, kv_rank=32, nope_dim=8, rope_dim=8, v_dim=16)
    moe = MoEConfig(experts=8, top_k=2, hidden=32, shared=1)
    values: dict[str, Any] = {
        "family": "deepseek_v2",
        "vocab": 0,
        "dim": 64,
        "layers": 3,
        "hidden": 128,
        "attention": attention,
        "rope": RopeConfig(dim=8),
        "moe": moe,
        "context": 256,
        "dtype": "float32",
    }
    return ModelConfig(**(values | changes))


def small_dense(family: str = "llama", **changes: Any) -> ModelConfig:
    """Grouped-query attention and dense layers."""
    attention = GQAConfig(heads=4, kv_heads=2, head_dim=16, qkv_bias=family == "qwen2")
    more = {"family": family, "attention": attention, "rope": RopeConfig(dim=16), "moe": None}
    return small_latent(**(more | changes))


def small_run(corpus: Path, model: ModelConfig, steps: int, **changes: Any) -> TrainConfig:
    """So many steps of 512 tokens."""
    config = TrainConfig(
        model=model,
        init_std=0.05,
        tokens=steps * SEQUENCES * LENGTH,
        data=DataConfig(
            sources=(SourceConfig(path=str(corpus)),),
            length=LENGTH,
            fim=FimConfig(rate=0.0),
            workers=0,
        ),
        batch=BatchConfig(sequences=SEQUENCES, micro=SEQUENCES),
        optimiser=OptimiserConfig(lr=1e-2),
        schedule=ScheduleConfig(warmup_steps=5),
        balance=BalanceConfig(expert=0.01),
        keep=KeepConfig(every_steps=10**6, evaluate_every=10**6, sample_every=10**6),
        precision="float32",
    )
    return replace(config, **changes)


def trained(config: TrainConfig, folder: Path) -> tuple[Run, list[float]]:
    """The run in `folder` after its last step, RUN/final written; and the loss of each step."""
    tokenizer = Tokenizer.from_folder(Path(config.data.sources[0].path) / "tokenizer")
    config = fitted(config, tokenizer)
    new_run(config, folder, tokenizer, Ranks())
    losses: list[float] = []

    def note(event: Mapping[str, Any]) -> None:
        if event["kind"] == "step":
            losses.append(event["loss"])

    run = open_run(config, folder, Ranks(), tracker=None, watch=note)
    with closing(run.log):
        run.train()
    write_final(run)
    return run, losses
