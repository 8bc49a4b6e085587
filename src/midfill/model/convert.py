"""Checkpoints from one layout to another: Hugging Face folders and GGUF files."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midfill.config.model import ModelConfig
from midfill.errors import CheckpointError, ConfigError, ResourceError, TokenizerError
from midfill.model.checkpoint import Checkpoint, check_tensors, open_checkpoint
from midfill.model.gguf import write_gguf
from midfill.model.gguf_config import end_keys, sampling_keys, to_gguf_metadata
from midfill.model.gguf_weights import gguf_tensors
from midfill.model.hf_config import to_hf_config
from midfill.model.safetensors_out import write_safetensors
from midfill.model.transformer import Transformer
from midfill.model.weights import DTYPES, dtype_in_file
from midfill.tokenizer.tokenizer import Tokenizer

SHARD_BYTES = 5 * 10**9  # as Hugging Face writes them
PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "BF16": 32}
Report = Callable[[int, int], None]  # bytes done, bytes in all


def convert(
    source: Path, target: Path, to: str, quant: str | None = None, report: Report | None = None
) -> Path:
    """Write the checkpoint at `source` to `target` as "hf" or "gguf"; return the path written.

    `quant` is the type of the matrices: F32, F16, BF16, and for GGUF also Q8_0 and Q4_0; by default
    the type they are stored in. Needs memory for one tensor. Raises ConfigError, CheckpointError.
    """
    if to not in ("hf", "gguf"):
        raise ConfigError(
            f"cannot convert to {to!r}", why="midfill writes hf and gguf", fix="--to gguf"
        )
    if target.exists() and not target.is_file() and not target.is_dir():
        raise ConfigError(
            f"{target} is no file",
            why="it is a device or a pipe, and would be replaced by a file",
            fix="name a new file",
        )
    checkpoint = open_checkpoint(source)
    allowed = PLAIN if to == "hf" else FILE_TYPES
    stored = {v: k for k, v in PLAIN.items()}[checkpoint.weights.stored_dtype()]
    chosen = (quant or stored).upper()
    if chosen not in allowed:
        raise ConfigError(
            f"--quant {quant} cannot be written to {to}",
            why=f"{to} files are written as {', '.join(allowed)}",
            fix=f"--quant {stored}",
        )
    check_tensors(checkpoint)
    tokenizer = _tokenizer(checkpoint)
    try:
        if to == "gguf":
            return to_gguf(checkpoint, tokenizer, target, chosen, report)
        return to_hf(checkpoint, tokenizer, target, PLAIN[chosen], report)
    except OSError as error:
        raise ResourceError(
            f"{target} cannot be written",
            why=error.strerror or str(error),
            fix="name another place, or free some of that disk",
        ) from None


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer | None:
    """The checkpoint's tokenizer; None when it has none at all, which is legal for weights."""
    try:
        return checkpoint.tokenizer()
    except TokenizerError:
        folder = checkpoint.path
        if checkpoint.gguf is None and (folder / "tokenizer.json").exists():
            raise
        if checkpoint.gguf is not None and "tokenizer.ggml.tokens" in checkpoint.gguf.metadata:
            raise
        return None


def to_gguf(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer | None,
    target: Path,
    quant: str,
    report: Report | None = None,
) -> Path:
    """Write one GGUF file in llama.cpp's current form; in a folder it is named after the model."""
    if target.is_dir():
        target = target / f"{checkpoint.name}-{quant}.gguf"
    config = checkpoint.config
    metadata = to_gguf_metadata(config, name=checkpoint.name, file_type=FILE_TYPES[quant])
    if tokenizer is None:
        metadata["tokenizer.ggml.model"] = "no_vocab"
    else:
        metadata |= tokenizer.to_gguf(config.vocab)
    metadata |= end_keys(config, metadata)
    metadata |= sampling_keys(checkpoint.generation())
    target.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(target, metadata, gguf_tensors(checkpoint.weights, config, quant), report)
    return target


def to_hf(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer | None,
    target: Path,
    dtype: str,
    report: Report | None = None,
) -> Path:
    """Write a Hugging Face folder under the original DeepSeek names."""
    if target.exists() and not target.is_dir():
        raise CheckpointError(
            f"{target} is a file", why="a Hugging Face checkpoint is a folder", fix="name a folder"
        )
    weights, config = checkpoint.weights, replace(checkpoint.config, dtype=dtype)  # type: ignore[arg-type]

    def read(name: str) -> Tensor:
        tensor = weights.read(name, dtype_in_file(name, DTYPES[dtype])).clone()
        weights.release(name)
        return tensor

    write_folder(target, config, read, report, checkpoint.generation())
    if tokenizer is not None:
        tokenizer.save(target)
    return target


def save_hf(network: Transformer, target: Path) -> None:
    """Write `network` as a Hugging Face folder, in the type its weights have."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    config = replace(network.config, dtype=names[network.dtype])  # type: ignore[arg-type]
    state = network.state_dict()
    write_folder(target, config, lambda name: tensor_of(state, name))


def tensor_of(state: dict[str, Tensor], name: str) -> Tensor:
    """The tensor with the original `name` in a Transformer's state: experts are unstacked."""
    name = name.removeprefix("model.")
    base, dot, rest = name.partition(".mlp.experts.")
    if not dot:
        return state[name]
    expert, kind, _ = rest.split(".")
    if kind == "down_proj":
        return state[f"{base}.mlp.experts.down_proj"][int(expert)]
    gate, up = state[f"{base}.mlp.experts.gate_up_proj"][int(expert)].chunk(2)
    return gate if kind == "gate_proj" else up


def write_folder(
    folder: Path,
    config: ModelConfig,
    read: Callable[[str], Tensor],
    report: Report | None = None,
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Write config.json and safetensors (sharded when large); config.json comes last.

    `generation` is what generation_config.json says beside the ids that begin and end a text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = DTYPES[config.dtype]
    shards = _shards(config.tensors(), dtype)
    total = sum(
        prod(shape) * dtype_in_file(name, dtype).itemsize
        for shard in shards
        for name, shape in shard
    )
    weight_map, done = {}, 0
    for i, shard in enumerate(shards, 1):
        single = len(shards) == 1
        file = "model.safetensors" if single else f"model-{i:05}-of-{len(shards):05}.safetensors"
        done += write_safetensors(folder / file, shard, dtype, read)
        weight_map |= {name: file for name, _ in shard}
        if report is not None:
            report(done, total)
    index = folder / "model.safetensors.index.json"
    if len(shards) > 1:
        _write_json(index, {"metadata": {"total_size": total}, "weight_map": weight_map})
    else:
        index.unlink(missing_ok=True)  # of an earlier checkpoint; readers would follow it
    ids = {"bos_token_id": config.bos, "eos_token_id": list(config.eos) or None}
    _write_json(folder / "generation_config.json", {**(generation or {}), **ids})
    _write_json(folder / "config.json", to_hf_config(config))


def _shards(
    tensors: Iterable[tuple[str, tuple[int, ...]]], dtype: torch.dtype
) -> list[list[tuple[str, tuple[int, ...]]]]:
    """Tensors in order, cut where a file would pass SHARD_BYTES."""
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    size = 0
    for name, shape in tensors:
        bytes_ = prod(shape) * dtype_in_file(name, dtype).itemsize
        if shards[-1] and size + bytes_ > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += bytes_
    return shards


def _write_json(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
