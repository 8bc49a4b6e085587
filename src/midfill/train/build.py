"""A run from its configuration: network, data and record in a folder; and the checkpoint it ends in."""

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from midfill.config.model import ModelConfig
from midfill.config.override import as_data, from_data
from midfill.config.train import TrainConfig
from midfill.corpus.whole import write_json
from midfill.errors import ConfigError, ResourceError, TrainError
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import tensor_of, write_folder
from midfill.model.transformer import Transformer
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.baseline import MOST_TOKENS, Grams
from midfill.train.checkpoint import Checkpoints
from midfill.train.data import Data
from midfill.train.init import initialise
from midfill.train.log import Log, Tracker
from midfill.train.parallel.pieces import whole_state
from midfill.train.parallel.ranks import Ranks
from midfill.train.run import CHECKPOINTS, Run, Watch
from midfill.train.throughput import flops_per_token, measured_peak

RUN, TOKENIZER, FINAL = "run.json", "tokenizer", "final"
VERSIONS = ("midfill", "torch", "numpy", "tokenizers")
ROUND = 64  # a vocabulary of new weights is a multiple of it


def fitted(config: TrainConfig, tokenizer: Tokenizer) -> TrainConfig:
    """The configuration with the tokenizer's vocabulary and ends; weights that exist must fit it."""
    model = config.model
    if config.start is None:
        model = replace(model, vocab=-(-tokenizer.rows // ROUND) * ROUND)
    elif tokenizer.rows > model.vocab:
        raise ConfigError(
            f"the tokenizer has {tokenizer.rows:,} ids, and the model {model.vocab:,}",
            why=f"{config.start} was trained with another one",
            fix="build the corpus with the model's tokenizer: --set shards.tokenizer.path=MODEL",
        )
    if config.balance.bias_rate and model.moe is not None:
        model = replace(model, moe=replace(model.moe, choice_bias=True))
    eos = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
    return replace(config, model=replace(model, bos=tokenizer.bos_id, eos=eos))


def new_run(config: TrainConfig, folder: Path, tokenizer: Tokenizer, ranks: Ranks) -> None:
    """Make the folder of a run that does not exist yet. Raises ConfigError where there is one."""
    if (folder / RUN).exists():
        raise ConfigError(
            f"{folder} already holds a run",
            why="its checkpoints and its log would be mixed with others",
            fix=f"midfill train --resume {folder}, or another --out",
        )
    if ranks.first:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tokenizer.save(folder / TOKENIZER)
        except OSError as error:
            raise ResourceError(
                f"{folder} cannot be written", why=str(error), fix="name another --out"
            ) from error
    ranks.barrier()


def read_config(folder: Path) -> TrainConfig:
    """The configuration of the run in a folder. Raises TrainError."""
    try:
        return from_data(TrainConfig, json.loads((folder / RUN).read_text("utf-8"))["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{folder} holds no run that can be read",
            why=f"{RUN}: {error}",
            fix="name the folder that --out named when the run began",
        ) from error


def open_run(
    config: TrainConfig, folder: Path, ranks: Ranks, *, tracker: Tracker | None, watch: Watch
) -> Run:
    """The run in a folder that `new_run` made, ready to train."""
    tokenizer = Tokenizer.from_folder(folder / TOKENIZER)
    data = Data.open(config.data, config.batch, config.seed, tokenizer)
    kept = Checkpoints(folder / CHECKPOINTS, config.keep.last, ranks).steps()
    begun = replace(config, start=None) if kept else config  # its checkpoint has all weights
    network = _network(begun, ranks.device)
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    peak = measured_peak(ranks.device, dtype) * ranks.world
    flops = flops_per_token(config.model, config.data.length)
    if ranks.first and not (folder / RUN).exists():
        record = _record(config, data, flops=flops, peak=peak)
        write_json(folder / RUN, record | {"baseline": _baseline(config, data)})
    ranks.barrier()
    log = Log(folder, tracker if ranks.first else None)
    return Run(
        config,
        folder,
        network,
        tokenizer,
        data,
        log,
        ranks,
        flops=flops,
        peak=peak,
        watch=watch,
    )


def write_final(run: Run) -> Path:
    """Write RUN/final, whole or not at all: a Hugging Face folder with its tokenizer."""
    target = run.folder / FINAL
    state = whole_state(run.network)
    if run.ranks.first:
        part = target.with_name(f".{FINAL}.part")
        shutil.rmtree(part, ignore_errors=True)
        write_folder(part, run.config.model, lambda name: tensor_of(state, name))
        run.tokenizer.save(part)
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
    run.ranks.barrier()
    return target


def _network(config: TrainConfig, device: torch.device) -> Transformer:
    """The weights that a run begins with, float32."""
    if config.start is None:
        network = new_network(config.model, config.init_std, config.seed)
    else:
        checkpoint = open_checkpoint(Path(config.start))
        stored = _with_weights_of(checkpoint.config, config.model)
        network = load_network(replace(checkpoint, config=stored), torch.float32)
        network.config = config.model
        network.requires_grad_(True)
    return network.to(device)


def new_network(config: ModelConfig, std: float, seed: int) -> Transformer:
    """A network with new weights, float32, on the processor."""
    with torch.device("meta"):
        network = Transformer(config)
    network.to_empty(device="cpu")
    if config.tie_embedding:
        network.lm_head.weight = network.embed_tokens.weight
    initialise(network, std, seed)
    return network


def _with_weights_of(stored: ModelConfig, wanted: ModelConfig) -> ModelConfig:
    """`wanted`, which may differ from the checkpoint in what is no weight. Raises ConfigError.

    A bias on the choice of experts may be new: it is left out, and begins with zeros.
    """
    if wanted.moe is not None and stored.moe is not None and not stored.moe.choice_bias:
        wanted = replace(wanted, moe=replace(wanted.moe, choice_bias=False))
    if dict(stored.tensors()) != dict(wanted.tensors()):
        raise ConfigError(
            "the configuration is of another network than the checkpoint",
            why="their tensors have other names or shapes",
            fix="change of `model` only the rotary embedding, the context and the balance",
        )
    return wanted


def _baseline(config: TrainConfig, data: Data) -> Mapping[str, Any] | None:
    """What 3-grams of the training tokens predict of the held-out ones."""
    held_out = data.held_out(config.keep.evaluate_sequences, config.data.length)
    if not held_out or 3 * (config.model.vocab - 1).bit_length() > 64:
        return None
    most = min(MOST_TOKENS, config.tokens)
    return {
        "name": "3-grams",
        "tokens": most,
        "loss": Grams(data.sample(most), config.model.vocab).loss(held_out),
    }


def _record(config: TrainConfig, data: Data, *, flops: float, peak: float) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return {
        "config": as_data(config),
        "versions": versions,
        "data": {
            "fingerprint": data.fingerprint,
            "sources": [as_data(source) for source in config.data.sources],
            "epoch_sequences": list(data.epoch_sequences),
        },
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "parameters": {
            "total": config.model.total_parameters,
            "active": config.model.active_parameters,
        },
        "flops_per_token": flops,
        "peak_flops": peak,
    }
