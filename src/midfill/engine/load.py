"""A model's name to a Coder: find the files, choose type and device, check memory, read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from midfill.engine.memory import available_bytes, fitting_context, held_bytes
from midfill.engine.text import Coder
from midfill.engine.threads import Others, Threads
from midfill.errors import ConfigError, DownloadError, TokenizerError
from midfill.kernels.linear import can_pack
from midfill.model.checkpoint import Checkpoint, load_network, open_checkpoint, pack_linears
from midfill.model.hf_weights import SafetensorsWeights
from midfill.model.weights import DTYPES
from midfill.tokenizer.tokenizer import Tokenizer

DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def load(
    name: str | Path | None = None,
    *,
    dtype: str = "auto",
    device: str = "auto",
    context: int | None = None,
    threads: int | None = None,
    progress: Callable[[Any], None] | None = None,
) -> Coder:
    """A model ready to complete, fill and chat.

    `name` is a path, `owner/name` on the hub, a name of `midfill models`, or None for the default
    model. `dtype` is float32, bfloat16, float16 or auto (bfloat16 where the hardware multiplies it,
    else float32). `threads` None: one for each core that nobody else uses, looked at again while
    answers are made; never more than torch was set to. Raises DownloadError, CheckpointError, ConfigError or ResourceError.
    """
    from midfill.hub import default_model, resolve

    others = Others()
    given = default_model() if name is None else str(name)
    checkpoint = open_checkpoint(resolve(given, progress=progress))
    device = pick_device(device)
    keeper = pick_threads(threads, others)
    chosen = pick_dtype(dtype, device)
    pack = device == "cpu" and chosen == "bfloat16" and can_pack()
    mapped = not pack and _stays_mapped(checkpoint, chosen, device)
    fits = fitting_context(
        checkpoint.config,
        chosen,
        held=held_bytes(checkpoint.config, chosen, mapped=mapped),
        free=available_bytes() if device == "cpu" else torch.cuda.mem_get_info(device)[0],
        asked=context,
    )
    tokenizer = _tokenizer_or_why_not(checkpoint)
    network = load_network(checkpoint, DTYPES[chosen], device)
    if pack:
        pack_linears(network, checkpoint.weights)
    return Coder(
        checkpoint.name if Path(given).exists() else given,
        network,
        tokenizer,
        context=fits,
        defaults=_defaults(checkpoint),
        can_fill=_was_trained_to_fill(checkpoint, given),
        threads=keeper,
    )


def _stays_mapped(checkpoint: Checkpoint, dtype: str, device: str) -> bool:
    """Whether the weights are used where they lie in the file."""
    weights = checkpoint.weights
    stored_so = weights.stored_dtype() == dtype
    return device == "cpu" and stored_so and isinstance(weights, SafetensorsWeights)


def _tokenizer_or_why_not(checkpoint: Checkpoint) -> Tokenizer | TokenizerError:
    """The tokenizer, or the error that whoever needs it will see: logits need none."""
    try:
        tokenizer = checkpoint.tokenizer()
    except TokenizerError as problem:
        return problem
    tokenizer.pad_to(checkpoint.config.vocab)
    return tokenizer


def _defaults(checkpoint: Checkpoint) -> dict[str, float]:
    """The sampling that generation_config.json asks for; empty when it asks for none."""
    raw = checkpoint.generation()
    if not raw.get("do_sample"):
        return {}
    return {key: raw[key] for key in DEFAULTS if isinstance(raw.get(key), int | float)}


def _was_trained_to_fill(checkpoint: Checkpoint, name: str) -> bool:
    """False for models known not to be: the 236B of Coder-V2 (§3.1), and what the catalogue says."""
    from midfill.hub import find

    moe = checkpoint.config.moe
    if moe is not None and moe.experts == 160:
        return False
    try:
        return find(name).fim
    except DownloadError:
        return True


def pick_threads(threads: int | None, others: Others) -> Threads | None:
    """Set torch's threads to `threads`, or to the idle cores and keep them there."""
    if threads is None:
        return Threads(others.busy_cores()) if torch.get_num_threads() > 1 else None
    if threads < 1:
        raise ConfigError("threads must be at least 1", why=f"it is {threads}", fix="--threads 1")
    torch.set_num_threads(threads)
    return None


def pick_device(device: str) -> str:
    """`device`, or the best one this machine has for "auto". Raises ConfigError."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {device!r} cannot be used", why=str(error).splitlines()[0], fix="--device cpu"
        ) from None
    return device


def pick_dtype(dtype: str, device: str) -> str:
    """`dtype`, or for "auto" bfloat16 where the hardware multiplies it, else float32."""
    if dtype == "auto":
        return "bfloat16" if device != "cpu" or multiplies_bfloat16() else "float32"
    if dtype not in DTYPES:
        raise ConfigError(
            f"dtype {dtype!r} is not known",
            why=f"midfill computes in {', '.join(DTYPES)}",
            fix="--dtype auto",
        )
    return dtype


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 as fast as it reads it."""
    built_in = torch.backends.mkldnn.is_available()  # not in builds for Apple's processors
    return built_in and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
