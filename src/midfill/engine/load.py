"""A model's name to a Coder: find the files, choose how to compute, check memory, read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from midfill.config.model import GQAConfig
from midfill.engine.memory import available_bytes, fitting_context, held_bytes, pool_pages
from midfill.engine.runner import PAGE, Runner
from midfill.engine.text import Coder
from midfill.engine.threads import Others, Threads, most_threads
from midfill.engine.torch_runner import TorchRunner
from midfill.errors import ConfigError, DownloadError, TokenizerError
from midfill.kernels.cpu import native, why_not
from midfill.kernels.linear import can_pack
from midfill.model.checkpoint import Checkpoint, load_network, open_checkpoint, pack_linears
from midfill.model.gguf_config import is_quantised
from midfill.model.hf_weights import SafetensorsWeights
from midfill.model.native import can_run
from midfill.model.weights import DTYPES
from midfill.tokenizer.tokenizer import Tokenizer

DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
CACHE_TYPES = ("bfloat16", "int8")
WORTH_A_FILE = 1 << 28  # bytes of packed weights; smaller ones are packed again in half a second


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is computed: what was asked for, with every `auto` decided."""

    device: str
    dtype: str  # of the weights and the cache on PyTorch's path
    compiled: bool  # by the kernels of our own, which keep the weights as they are stored
    quant: str | None = None  # what unquantised weights become on the way in
    cache: str = "bfloat16"
    cache_file: bool = True
    context: int | None = None


def load(
    name: str | Path | None = None,
    *,
    dtype: str = "auto",
    device: str = "auto",
    context: int | None = None,
    threads: int | None = None,
    quant: str | None = None,
    cache: str = "auto",
    cache_file: bool = True,
    strict: bool | None = None,
    max_running: int = 32,
    progress: Callable[[Any], None] | None = None,
) -> Coder:
    """A model ready to complete, fill and chat.

    `name` is a path, `owner/name` on the hub, a name of `midfill models`, or None for the default
    model. On a processor, `dtype` auto takes the compiled kernels, which keep quantised weights as
    they are; where they are missing, and for float32, bfloat16 and float16, PyTorch computes in that
    type (auto there: bfloat16 where the hardware multiplies it, else float32). `quant` int8 or int4
    makes unquantised weights smaller. `cache` int8 keeps the latents of multi-head latent attention
    in 8 bits. `cache_file` False keeps the packed weights in memory, as small ones always are, instead
    of in a mapped file of the cache folder. `strict`: an answer is the same to the bit, whatever was read before, which only the
    compiled kernels can promise; None: where they compute and it costs nothing, so not with latent
    attention. `threads` None: one for each core that
    nobody else uses, looked at again while answers are made.
    Raises DownloadError, CheckpointError, ConfigError or ResourceError.
    """
    from midfill.hub import default_model, resolve

    others = Others()
    given = default_model() if name is None else str(name)
    checkpoint = open_checkpoint(resolve(given, progress=progress))
    setup = choose(
        checkpoint,
        dtype=dtype,
        device=device,
        quant=quant,
        cache=cache,
        cache_file=cache_file,
        context=context,
        strict=strict,
    )
    keeper = pick_threads(threads, others, compiled=setup.compiled)
    build = _compiled_runner if setup.compiled else _torch_runner
    runner, fits = build(checkpoint, setup, progress)
    return Coder(
        checkpoint.name if Path(given).exists() else given,
        runner,
        _tokenizer_or_why_not(checkpoint),
        context=fits,
        defaults=_defaults(checkpoint),
        can_fill=_was_trained_to_fill(checkpoint, given),
        threads=keeper,
        strict=strict,
        max_running=max_running,
    )


def choose(
    checkpoint: Checkpoint,
    *,
    dtype: str = "auto",
    device: str = "auto",
    quant: str | None = None,
    cache: str = "auto",
    cache_file: bool = True,
    context: int | None = None,
    strict: bool | None = None,
) -> Setup:
    """How to compute this model, from what was asked for. Raises ConfigError."""
    device = pick_device(device)
    compiled = device == "cpu" and dtype == "auto" and can_run(checkpoint.config)
    latent = not isinstance(checkpoint.config.attention, GQAConfig)
    if cache not in ("auto", *CACHE_TYPES):
        raise ConfigError(
            f"cache {cache!r} is not known",
            why=f"there are {', '.join(CACHE_TYPES)}",
            fix="--cache auto",
        )
    for asked, what, option in (
        (quant, f"quant {quant}", "--quant"),
        (cache == "int8", "an int8 cache", "--cache"),
        (strict, "the same answer to the bit", "--strict"),
    ):
        if asked and not compiled:
            why, fix = _why_not_compiled(checkpoint, dtype, device)
            raise ConfigError(
                f"{what} needs the compiled kernels", why=why, fix=fix or f"leave {option} out"
            )
    if cache == "int8" and not latent:
        raise ConfigError(
            "this model's cache cannot be kept in 8 bits",
            why="only the latents of multi-head latent attention can",
            fix="--cache bfloat16, or a shorter --context",
        )
    return Setup(
        device=device,
        dtype=pick_dtype(dtype, device),
        compiled=compiled,
        quant=quant,
        cache="bfloat16" if cache == "auto" else cache,
        cache_file=cache_file,
        context=context,
    )


def _why_not_compiled(checkpoint: Checkpoint, dtype: str, device: str) -> tuple[str, str]:
    """Why PyTorch computes, and what would change that; "" if nothing here would."""
    if native is None:
        return why_not, ""
    if not can_run(checkpoint.config):
        return "they do not fit this model: its widths, or a bias on the choice of its experts", ""
    if device != "cpu":
        return f"on {device} PyTorch computes", "--device cpu"
    return f"in dtype {dtype} PyTorch computes", "--dtype auto"


def _compiled_runner(
    checkpoint: Checkpoint, setup: Setup, progress: Callable[[Any], None] | None
) -> tuple[Runner, int]:
    """Packed weights under the compiled kernels, and the context that fits."""
    from midfill.engine.native_runner import NativeRunner, page_bytes
    from midfill.hub import cache_folder
    from midfill.model.native import NativeNetwork
    from midfill.model.packed_weights import packed_weights, size_of

    config, each = checkpoint.config, page_bytes(checkpoint.config, int8=setup.cache == "int8")
    held, free = size_of(checkpoint, setup.quant), available_bytes()
    fits = fitting_context(
        config,
        setup.quant,
        held=held,
        free=free,
        asked=setup.context,
        per_token=each / PAGE,
        smaller=_smaller(checkpoint, setup),
    )
    worth_it = setup.cache_file and held >= WORTH_A_FILE
    folder = cache_folder() / "packed" if worth_it else None
    told = None if progress is None else _packing(progress)
    weights = packed_weights(checkpoint, folder=folder, quant=setup.quant, progress=told)
    weights.bring_in()
    pages = pool_pages(fits, each, None if free is None else free - held)
    network = NativeNetwork(config, weights)
    return NativeRunner(network, pages, int8=setup.cache == "int8"), fits


def _smaller(checkpoint: Checkpoint, setup: Setup) -> list[str]:
    """The options that would make weights or cache smaller than `setup` does."""
    plain = checkpoint.gguf is None or not is_quantised(checkpoint.gguf.tensors)
    quant = ["--quant int4"] if plain and setup.quant != "int4" else []
    latent = not isinstance(checkpoint.config.attention, GQAConfig)
    return quant + (["--cache int8"] if latent and setup.cache != "int8" else [])


def _packing(report: Callable[[Any], None]) -> Callable[[int, int], None]:
    """`report` for work that tells how many bytes are done, and of how many."""
    from midfill.hub.progress import Progress

    label = "repacking the weights, once"
    return lambda done, total: report(Progress(label=label, done_bytes=done, total_bytes=total))


def _torch_runner(
    checkpoint: Checkpoint, setup: Setup, progress: Callable[[Any], None] | None
) -> tuple[Runner, int]:
    """PyTorch's network in one type, and the context that fits."""
    config = checkpoint.config
    pack = setup.device == "cpu" and setup.dtype == "bfloat16" and can_pack()
    mapped = not pack and _stays_mapped(checkpoint, setup.dtype, setup.device)
    held = held_bytes(config, setup.dtype, mapped=mapped)
    on_cpu = setup.device == "cpu"
    free = available_bytes() if on_cpu else torch.cuda.mem_get_info(setup.device)[0]
    fits = fitting_context(config, setup.dtype, held=held, free=free, asked=setup.context)
    network = load_network(checkpoint, DTYPES[setup.dtype], setup.device)
    if pack:
        pack_linears(network, checkpoint.weights)
    each = config.cache_bytes_per_token(setup.dtype) * PAGE
    return TorchRunner(network, pool_pages(fits, each, None if free is None else free - held)), fits


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


def pick_threads(threads: int | None, others: Others, *, compiled: bool) -> Threads | None:
    """Compute with `threads`, or on the idle cores and look again from time to time."""
    if threads is not None and threads < 1:
        raise ConfigError("threads must be at least 1", why=f"it is {threads}", fix="--threads 1")
    use = torch.set_num_threads
    if compiled:
        assert native is not None
        torch.set_num_threads(1)  # two teams of threads on the same cores would wait for each other
        use = native.set_threads
    most = most_threads()
    if threads is not None or most == 1:
        use(threads or most)
        return None
    return Threads(others.busy_cores(), most, use)


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
