"""What this machine can hold."""

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

from midfill.config.model import DTYPE_BYTES, ModelConfig
from midfill.engine.runner import PAGE
from midfill.errors import ResourceError

GIB = 2**30
SPARE = 0.9  # of the free memory may be planned for
SEVERAL = 4  # contexts a pool of pages holds where memory allows
ENOUGH_BYTES = 1 << 30  # for more than one context, always
SHARE = 4  # or this part of what is free


def available_bytes() -> int | None:
    """Bytes of memory a new process may take: the system's and the container's limit."""
    free = _free_in_system()
    limit = _number("/sys/fs/cgroup/memory.max")
    used = _number("/sys/fs/cgroup/memory.current")
    if limit is not None and used is not None:
        left = limit - (used - _droppable())
        free = min(free, left) if free is not None else left
    return free


def _droppable() -> int:
    """Bytes of the container's memory that only cache files, such as a model just fetched."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):
        return 0


def _free_in_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None


def held_bytes(config: ModelConfig, dtype: str, *, mapped: bool) -> int:
    """Bytes the weights take in memory of their own.

    `mapped`: they are used where they lie in the file, whose pages the system may drop; routed
    experts are stacked, so they are always copied.
    """
    if not mapped:
        return config.weight_bytes(dtype)
    experts = (shape for name, shape in config.tensors() if ".mlp.experts." in name)
    return sum(prod(shape) for shape in experts) * DTYPE_BYTES[dtype]


def fitting_context(
    config: ModelConfig,
    dtype: str | None,
    *,
    held: int,
    free: int | None,
    asked: int | None,
    per_token: float | None = None,
    smaller: Sequence[str] = (),
) -> int:
    """The longest context that fits beside `held` bytes of weights into `free` bytes of memory.

    At most the model's own. Raises ResourceError when the weights do not fit, or the `asked`
    context does not. `free` None: it cannot be told, so everything is allowed. `dtype` may also be
    the quantisation of the weights; `per_token` is then the bytes of cache. `smaller`: options that
    would make weights or cache smaller.
    """
    each = config.cache_bytes_per_token(dtype or config.dtype) if per_token is None else per_token
    if asked is not None and not 1 <= asked <= config.context:
        raise ResourceError(
            f"a context of {asked} tokens was asked for",
            why=f"the model reads between 1 and {config.context}",
            fix=f"--context {config.context}",
        )
    if free is None:
        return asked or config.context
    room = free * SPARE - held
    if room <= 0:
        raise ResourceError(
            f"the weights take {held / GIB:.1f} GiB" + (f" in {dtype}" if dtype else ""),
            why=f"{free / GIB:.1f} GiB of memory are free",
            fix=", ".join(
                [o for o in smaller if o.startswith("--quant")]
                + ["a smaller model (midfill models), or more free memory"]
            ),
        )
    fits = int(room // each)
    if asked is not None and asked > fits:
        raise ResourceError(
            f"a context of {asked} tokens does not fit beside the weights",
            why=f"each token takes {each:,.0f} bytes of cache; "
            f"{room / GIB:.1f} GiB are left for it",
            fix=", or ".join([f"--context {min(fits, config.context)}", *smaller]),
        )
    return asked or max(min(config.context, fits), 1)


def pool_pages(context: int, page_bytes: int, room: int | None) -> int:
    """Pages of the engine's pool: one context, and several where that is little memory.

    They cost nothing until they are used; what finished answers leave in them is kept for others.
    """
    one = -(-context // PAGE) + 1
    spare = max(ENOUGH_BYTES, 0 if room is None else room // SHARE)
    return max(one, min(SEVERAL * max(one, PAGE), spare // page_bytes))
