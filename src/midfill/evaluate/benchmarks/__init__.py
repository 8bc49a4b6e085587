"""Benchmarks by name: `benchmark("humaneval")`."""

import difflib
import importlib
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError
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
    "infilling-held-out": ("held_out_lines", False),
    **{f"cruxeval-{d}": ("cruxeval", True) for d in ("i", "o", "i-cot", "o-cot")},
    "gsm8k": ("maths", True),
    "math": ("maths", True),
    "repair": ("repair", False),
    "edit": ("edit", False),
    "repocompletion": ("repocompletion", False),
    "needle": ("needle", False),
    # on files that the user brings
    **{name: ("leetcode", True) for name in ("leetcode", "leetcode-cot")},
    "livecodebench": ("livecodebench", False),
    "usaco": ("usaco", False),
    "repobench": ("repobench", False),
    "defects4j": ("defects4j", False),
    "swebench": ("swebench", False),
    "ds1000": ("ds1000", False),
    "safim": ("safim", False),
}


def names() -> tuple[str, ...]:
    """Every benchmark there is; those of a user's own data last."""
    return tuple(_MODULES)


def benchmark(name: str, data: Path | None = None, **options: Any) -> Benchmark:
    """The benchmark called `name`, its rows from `data` where the user names a file of his own.

    Raises ConfigError for an unknown name, DownloadError where its rows are not on this disk.
    """
    name = name.lower()
    if name in _MODULES:
        module, named = _MODULES[name]
        load = importlib.import_module(f"{__name__}.{module}").load
        return load(name, data, **options) if named else load(data, **options)
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
    raise ConfigError(
        f"there is no benchmark named {name!r}",
        why=f"the nearest name is {near[0]!r}" if near else "no benchmark has a name like it",
        fix="midfill evaluate --help",
    )
