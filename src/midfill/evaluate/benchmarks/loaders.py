"""Benchmarks whose data the user brings, and our own two: name -> how to open one.

Each opener takes the path of the user's file (or folder) and options of its own, and returns a
Benchmark; it raises ConfigError for a file in another form. Modules are imported when opened.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.evaluate.task import Benchmark


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """How one benchmark is opened: `LOADERS[name](path, **options)`."""

    module: str  # below midfill.evaluate.benchmarks; its function `load` does the work
    about: str  # for a list of benchmarks
    needs: str  # what `path` should be; empty: nothing is needed

    def __call__(self, path: Path | None = None, **options: Any) -> Benchmark:
        """The benchmark in the user's file. Raises ConfigError."""
        opened = importlib.import_module(f"midfill.evaluate.benchmarks.{self.module}")
        load: Callable[..., Benchmark] = opened.load
        return load(path, **options)


LOADERS: dict[str, Loader] = {
    "livecodebench": Loader(
        module="livecodebench",
        about="contest problems, by standard input or by call",
        needs="a JSONL file of its code generation set",
    ),
    "usaco": Loader(
        module="usaco",
        about="olympiad problems with their own limits",
        needs="its problem dictionary, a JSON file, beside the folder of tests",
    ),
    "repobench": Loader(
        module="repobench",
        about="the next line of a repository's file",
        needs="a JSONL or Parquet file of version 1.1, or a folder of them",
    ),
    "defects4j": Loader(
        module="defects4j",
        about="Java bugs that one method mends",
        needs="a JSONL file of bugs and a folder of checked-out projects",
    ),
    "swebench": Loader(
        module="swebench",
        about="issues of real repositories",
        needs="a JSONL file of instances beside their repositories",
    ),
    "ds1000": Loader(
        module="ds1000",
        about="data science questions in seven libraries",
        needs="ds1000.jsonl, compressed or not",
    ),
    "safim": Loader(
        module="safim",
        about="syntax-aware fill in the middle: block, control flow, API call",
        needs="a JSONL file of one of its parts",
    ),
    "repocompletion": Loader(
        module="repocompletion",
        about="the next line of a Python package published after the model's data",
        needs="the file that scripts/build_repocompletion.py writes",
    ),
    "needle": Loader(
        module="needle",
        about="a function's constant found again in a long text",
        needs="",
    ),
}
