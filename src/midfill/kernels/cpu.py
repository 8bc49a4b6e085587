"""The compiled kernels, where they were built; everything works without them, slower.

`native` is the extension module or None. `MIDFILL_CPU_LEVEL` takes a lower instruction set
(scalar, avx2, avx512, avx512bf16, amx) or `none`, which switches the extension off.
"""

import os
from importlib import import_module
from types import ModuleType

from midfill.errors import ConfigError

LEVELS = ("scalar", "avx2", "avx512", "avx512bf16", "amx")


def _load() -> tuple[ModuleType | None, str]:
    """The extension at its level, or None and why."""
    wanted = os.environ.get("MIDFILL_CPU_LEVEL") or None
    if wanted == "none":
        return None, "switched off by MIDFILL_CPU_LEVEL=none"
    try:
        extension = import_module("midfill.kernels._native")
    except ImportError as error:
        if "_native" not in str(error):
            return None, str(error)
        return None, "it was not built when midfill was installed"
    try:
        extension.set_level(wanted)
    except ValueError as error:
        raise ConfigError(
            f"MIDFILL_CPU_LEVEL={wanted} cannot be used",
            why=str(error),
            fix=f"take one of {', '.join(LEVELS)}, none, or unset it",
        ) from None
    return extension, ""


native, why_not = _load()


def level() -> str | None:
    """The instruction set in use; None without the extension."""
    return None if native is None else native.level()
