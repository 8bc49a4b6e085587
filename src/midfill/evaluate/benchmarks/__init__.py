"""Benchmarks by name: `benchmark("humaneval")`."""

import difflib
import importlib
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.loaders import LOADERS
from midfill.evaluate.task import Benchmark
from midfill.hub.datasets import LANGUAGES

# name -> module here whose `load` opens it, and whether `load` takes the name
_MODULES: dict[str, tuple[str, bool]] = {
    "humaneval": ("humaneval", False),
    "humaneval+": ("plus", True),
    **{f"humaneval-{language}": ("multilingual", True) for language in LANGUAGES},
    "mbpp": ("mbpp", False),
    "mbpp+": ("plus", True),
    **{f"infilling-{k}": ("infilling", True) for k in ("single-line", "multi-line", "random-span")},
    **{f"cruxeval-{d}": ("cruxeval", True) for d in ("i", "o", "i-cot", "o-cot")},
    "gsm8k": ("maths", True),
    "math": ("maths", True),
    "repair": ("repair", False),
    "edit": ("edit", False),
}


def names() -> tuple[str, ...]:
    """Every benchmark there is; those of a user's own data last."""
    return (*_MODULES, *(name for name in LOADERS if name not in _MODULES))


def benchmark(name: str, data: Path | None = None, **options: Any) -> Benchmark:
    """The benchmark called `name`, its rows from `data` where the user names a file of his own.

    Raises ConfigError for an unknown name, DownloadError where its rows are not on this disk.
    """
    name = name.lower()
    if name in _MODULES:
        module, named = _MODULES[name]
        load = importlib.import_module(f"{__name__}.{module}").load
        return load(name, data, **options) if named else load(data, **options)
    if name in LOADERS:
        return LOADERS[name](data, **options)
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
    raise ConfigError(
        f"there is no benchmark named {name!r}",
        why=f"the nearest name is {near[0]!r}" if near else "no benchmark has a name like it",
        fix="midfill evaluate --help",
    )
