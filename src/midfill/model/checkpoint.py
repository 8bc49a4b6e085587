"""A checkpoint on disk, of any supported format, and the network it becomes."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midfill.config.model import ModelConfig
from midfill.errors import CheckpointError
from midfill.kernels.linear import PackedLinear
from midfill.model.files import checkpoint_path
from midfill.model.gguf import GGUFFile
from midfill.model.gguf_config import generation_of, gguf_config
from midfill.model.gguf_weights import GGUFWeights
from midfill.model.hf_config import read_config, read_json
from midfill.model.hf_weights import open_hf_weights
from midfill.model.transformer import Transformer
from midfill.model.weights import DTYPES, Weights
from midfill.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: what network it is, its tensors, and its GGUF header if it has one."""

    path: Path
    config: ModelConfig
    weights: Weights
    gguf: GGUFFile | None = None

    @property
    def name(self) -> str:
        """What to call the model: the folder's or the file's name, dots in it kept."""
        return self.path.stem if self.path.is_file() else self.path.name

    def generation(self) -> dict[str, Any]:
        """generation_config.json, or what a GGUF header says of it; may be empty."""
        if self.gguf is not None:
            return generation_of(self.gguf.metadata)
        file = self.path / "generation_config.json"
        return read_json(file) if self.path.is_dir() and file.exists() else {}

    def tokenizer(self) -> Tokenizer:
        """The tokenizer in the folder or the GGUF header. Raises TokenizerError."""
        if self.gguf is not None:
            return Tokenizer.from_gguf(self.gguf.metadata)
        return Tokenizer.from_folder(self.path)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a Hugging Face folder or a GGUF file; no weights are read yet. Raises CheckpointError."""
    path = checkpoint_path(path)
    if path.is_dir():
        config, weights = read_config(path), open_hf_weights(path)
        return Checkpoint(path, _untied_if_stored(config, weights), weights)
    file = GGUFFile(path)
    config = gguf_config(file)
    return Checkpoint(path, config, GGUFWeights(file, config), file)


def _untied_if_stored(config: ModelConfig, weights: Weights) -> ModelConfig:
    """A head that is stored and differs from the embedding is a head, whatever the config says.

    So does transformers; it comes from fine-tuning that untied them and left the config alone.
    """
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    if not config.tie_embedding or weights.shape(head) is None:
        return config
    if weights.shape(head) != weights.shape(embedding):
        return config
    dtype = DTYPES[weights.stored_dtype()]
    if not torch.equal(weights.read(head, dtype), weights.read(embedding, dtype)):
        return replace(config, tie_embedding=False)
    weights.release(head)
    return config


def check_tensors(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if a tensor is missing or has another shape than the config says."""
    for name, shape in checkpoint.config.tensors():
        have = checkpoint.weights.shape(name)
        if have is None:
            raise missing_tensor(name, checkpoint)
        if have != shape:
            raise CheckpointError(
                f"{checkpoint.weights.where}: tensor {name!r} has the shape {list(have)}",
                why=f"the configuration makes it {list(shape)}",
                fix="fetch config and weights of the same model",
            )


def missing_tensor(name: str, checkpoint: Checkpoint) -> CheckpointError:
    """The error for a tensor that the network needs and the files lack."""
    others = [n for n, _ in checkpoint.config.tensors() if checkpoint.weights.shape(n) is not None]
    near = difflib.get_close_matches(name, others, 1)
    return CheckpointError(
        f"{checkpoint.weights.where} has no tensor {name!r}",
        why=f"it holds {len(checkpoint.weights)} tensors, {len(others)} of the names this network has"
        + (f"; the nearest is {near[0]!r}" if near else ""),
        fix="fetch all files of the model (midfill pull resumes where it stopped)",
    )


@torch.no_grad()
def load_network(checkpoint: Checkpoint, dtype: torch.dtype, device: str = "cpu") -> Transformer:
    """The network with its weights in `dtype` on `device`.

    Tensors already stored in `dtype` stay mapped to the file; others are converted one at a time.
    The bias on the choice of experts is float32 in any case.
    Raises CheckpointError for a missing, misshapen or non-finite tensor, naming it.
    """
    check_tensors(checkpoint)
    config, weights = checkpoint.config, checkpoint.weights
    with torch.device("meta"):
        network = Transformer(config)
    for name, parameter in network.named_parameters():
        original = original_name(name)
        if ".mlp.experts." in name:
            value = _stack_experts(weights, original, parameter, dtype, device)
        else:
            value = weights.read(original, dtype)
            _check_finite(value, original, weights)
            value = value.to(device)
        _assign(network, name, torch.nn.Parameter(value, requires_grad=False))
    for name, _ in network.named_buffers():
        value = weights.read(original_name(name), torch.float32).clone()
        _check_finite(value, original_name(name), weights)
        _assign(network, name, value.to(device))
    if config.tie_embedding:
        network.lm_head.weight = network.embed_tokens.weight
    return network.eval().requires_grad_(False)


@torch.no_grad()
def pack_linears(network: Transformer, weights: Weights) -> None:
    """Lay the matrices of a bfloat16 network out for the processor, one at a time.

    The router and the KV expansion stay as they are: their weights are used in other ways too.
    """
    named = [(name, m) for name, m in network.named_modules() if isinstance(m, torch.nn.Linear)]
    for name, layer in named:
        if name.endswith((".gate", ".kv_b_proj")):
            continue
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, PackedLinear(layer))
        layer.weight = None  # type: ignore[assignment]
        if not (name == "lm_head" and network.config.tie_embedding):
            weights.release(original_name(name + ".weight"))


def original_name(parameter: str) -> str:
    """The original DeepSeek / Hugging Face name of a parameter or buffer of Transformer."""
    return parameter if parameter.startswith("lm_head.") else "model." + parameter


def _stack_experts(
    weights: Weights, name: str, like: Tensor, dtype: torch.dtype, device: str
) -> Tensor:
    """All experts' matrices of one kind in one tensor, filled one expert at a time."""
    out = torch.empty(like.shape, dtype=dtype, device=device)
    base, stacked = name.rsplit(".", 1)
    kinds = ("down",) if stacked == "down_proj" else ("gate", "up")
    rows = like.shape[1] // len(kinds)
    for expert in range(like.shape[0]):
        for i, kind in enumerate(kinds):
            original = f"{base}.{expert}.{kind}_proj.weight"
            value = weights.read(original, dtype)
            _check_finite(value, original, weights)
            out[expert, i * rows : (i + 1) * rows] = value
            weights.release(original)
    return out


def _check_finite(value: Tensor, name: str, weights: Weights) -> None:
    """The extremes are NaN or infinite if an element is; torch finds them without a copy."""
    if value.numel() == 0 or all(torch.isfinite(extreme) for extreme in torch.aminmax(value)):
        return
    raise not_finite(name, int((~torch.isfinite(value)).sum()), weights.where)


def not_finite(name: str, bad: int, where: str) -> CheckpointError:
    """The error for a tensor of which `bad` values are no numbers one can compute with."""
    return CheckpointError(
        f"{where}: tensor {name!r} holds {bad} values that are NaN or infinite",
        why="the file was damaged, or the training run that wrote it had diverged",
        fix="fetch the file again, or take an earlier checkpoint",
    )


def _assign(network: Transformer, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, value)
