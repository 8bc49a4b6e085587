"""What a network costs, told from its configuration alone: nothing is allocated."""

import dataclasses
import difflib
from pathlib import Path
from typing import Any

from midfill.config.model import DTYPE_BYTES, MLAConfig, ModelConfig
from midfill.errors import ConfigError, DownloadError
from midfill.hub import config_of, entries, entry_of, on_disk
from midfill.model.files import checkpoint_path, weight_files
from midfill.model.gguf import GGUFFile
from midfill.model.gguf_config import describe_types, gguf_config, is_quantised
from midfill.model.hf_config import parse_config, read_config
from midfill.recipes.models import MODELS


def find_config(name: str) -> tuple[ModelConfig, str, int | None]:
    """The configuration that `name` means, where it comes from, and its bytes on disk if there.

    A recipe, a path, a stored model, the recipe of a model of the catalogue, or config.json alone
    from the hub: no weights are fetched. Raises ConfigError with the nearest name, DownloadError.
    """
    if name in MODELS and not Path(name).exists():
        return MODELS[name](), f"recipe {name}", None
    try:
        path = on_disk(name)
    except DownloadError:
        if "/" in name or Path(name).exists():
            raise
        raise _unknown(name) from None
    if path is not None:
        return _read(path)
    if recipe := _recipe_of(entry_of(name).name):
        return MODELS[recipe](), f"recipe {recipe}", None
    raw, source = config_of(name)
    where = f"config.json of {source}"
    return parse_config(raw, where), where, None


def _read(path: Path) -> tuple[ModelConfig, str, int]:
    """The configuration of a checkpoint; only headers are read."""
    found = checkpoint_path(path)
    if found.is_dir():
        size = sum(file.stat().st_size for file in weight_files(found))
        return read_config(found), f"Hugging Face folder {found}", size
    file = GGUFFile(found)
    types = ", ".join(f"{n} x {t}" for t, n in describe_types(file.tensors).items())
    return gguf_config(file), f"GGUF file {found} ({types})", file.bytes


def _packed_bytes(name: str, config: ModelConfig) -> int | None:
    """What the compiled kernels hold of a quantised GGUF file that is here; None: PyTorch computes."""
    if name in MODELS and not Path(name).exists():
        return None
    try:
        path = on_disk(name)
    except DownloadError:
        return None
    found = None if path is None else checkpoint_path(path)
    if found is None or found.is_dir() or not is_quantised(GGUFFile(found).tensors):
        return None
    from midfill.model.checkpoint import open_checkpoint  # these import torch
    from midfill.model.native import can_run
    from midfill.model.packed_weights import size_of

    return size_of(open_checkpoint(found)) if can_run(config) else None


def _recipe_of(entry: str) -> str | None:
    """deepseek-coder-6.7b-instruct is of the recipe deepseek-coder-6.7b."""
    plain = entry.removesuffix("-instruct").removesuffix("-base").replace("5.7bmqa", "5.7b-mqa")
    return plain if plain in MODELS else None


def _unknown(name: str) -> ConfigError:
    known = [*MODELS, *(entry.name for entry in entries())]
    near = difflib.get_close_matches(name, known, 1)
    return ConfigError(
        f"{name!r} is neither a recipe nor a model nor a path",
        why=f"the nearest name is {near[0]!r}" if near else f"recipes are {', '.join(MODELS)}",
        fix=f"midfill describe {near[0]}" if near else "midfill models",
    )


def describe(name: str, context: int | None = None, dtype: str | None = None) -> dict[str, Any]:
    """Counts and bytes of a network at `context` tokens, with weights and cache in `dtype`."""
    config, source, file_bytes = find_config(name)
    tokens = config.context if context is None else context
    if tokens < 1:
        raise ConfigError(
            f"a context of {tokens} tokens was asked for",
            why="the estimate is for at least one",
            fix=f"--context {config.context}",
        )
    if dtype is not None and dtype not in DTYPE_BYTES:
        raise ConfigError(
            f"dtype {dtype!r} is not known",
            why=f"midfill computes in {', '.join(DTYPE_BYTES)}",
            fix=f"--dtype {config.dtype}",
        )
    chosen = dtype or config.dtype
    weights, per_token = config.weight_bytes(chosen), config.cache_bytes_per_token(chosen)
    packed = _packed_bytes(name, config) if dtype is None else None
    return {
        "name": name,
        "source": source,
        "family": config.family,
        "total_parameters": config.total_parameters,
        "active_parameters": config.active_parameters,
        "layers": config.layers,
        "dim": config.dim,
        "vocabulary": config.vocab,
        "attention": dataclasses.asdict(config.attention)
        | {"kind": "mla" if isinstance(config.attention, MLAConfig) else "gqa"},
        "experts": dataclasses.asdict(config.moe) if config.moe else None,
        "rope": dataclasses.asdict(config.rope),
        "max_context": config.context,
        "dtype": chosen,
        "weight_bytes": weights,
        "packed_bytes": packed,
        "file_bytes": file_bytes,
        "cache_bytes_per_token": per_token,
        "context": tokens,
        "cache_bytes": per_token * tokens,
        "memory_bytes": (packed or weights) + per_token * tokens,
    }


def summary(facts: dict[str, Any]) -> list[str]:
    """The same for people, a line each."""
    gib = 2**30
    a, moe = facts["attention"], facts["experts"]
    if a["kind"] == "mla":
        query = f"query latent {a['q_rank']}, " if a["q_rank"] else ""
        attention = (
            f"latent, {a['heads']} heads, {query}kv latent {a['kv_rank']} + rope {a['rope_dim']}"
        )
    else:
        attention = f"{a['heads']} heads of {a['head_dim']}, {a['kv_heads']} key/value heads"
    lines = [
        f"{facts['name']}: {facts['family']}, from {facts['source']}",
        f"  parameters   {facts['total_parameters']:,} in all",
        f"               {facts['active_parameters']:,} active per token (all but the input embedding)",
        f"  layers       {facts['layers']} of width {facts['dim']}, vocabulary {facts['vocabulary']:,}",
        f"  attention    {attention}",
    ]
    if moe:
        groups = (
            f", from {moe['top_groups']} of {moe['groups']} groups" if moe["groups"] > 1 else ""
        )
        lines.append(
            f"  experts      {moe['top_k']} of {moe['experts']} routed{groups}, {moe['shared']} shared"
        )
    lines.append(f"  context      {facts['max_context']:,} tokens at most")
    plain = f"{facts['weight_bytes']:,} bytes in {facts['dtype']}"
    plain += f" ({facts['weight_bytes'] / gib:.2f} GiB)"
    if packed := facts["packed_bytes"]:
        lines.append(f"  weights      {packed:,} bytes as they are stored ({packed / gib:.2f} GiB)")
        lines.append(f"               on PyTorch's path {plain}")
    else:
        lines.append(f"  weights      {plain}")
    lines += [
        f"  cache        {facts['cache_bytes_per_token']:,} bytes per token",
        f"  memory       {facts['memory_bytes'] / gib:.2f} GiB with {facts['context']:,} tokens of context",
    ]
    if facts["file_bytes"]:
        lines.append(f"  on disk      {facts['file_bytes']:,} bytes")
    return lines
