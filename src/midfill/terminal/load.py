"""A model for a verb: fetched and loaded with progress on stderr, on the cores nobody else uses."""

import dataclasses
from typing import TYPE_CHECKING

from midfill.errors import ConfigError
from midfill.hub import default_model, find, resolve
from midfill.terminal import show
from midfill.terminal.options import Loading

if TYPE_CHECKING:
    from midfill.engine.text import Coder


def load_model(name: str | None, loading: Loading, *, quiet: bool) -> "Coder":
    """The model called `name`, or the default one; what is odd about its weights goes to stderr."""
    name = default_model() if name is None else name
    with show.progress(quiet=quiet) as report:
        resolve(name, progress=report)
        show.note(f"loading {name} ...", quiet=quiet)
        from midfill import load

        coder = load(name, progress=report, **dataclasses.asdict(loading))
    for text in coder.runner.notes:
        show.note(f"note: {text}", quiet=quiet)
    return coder


def model_that_fills(name: str | None) -> str:
    """`name`, or the default model if it can fill. Raises ConfigError before anything is loaded."""
    if name is None and not find(default_model()).fim:
        raise ConfigError(
            f"the default model, {default_model()}, cannot fill",
            why="it was not trained to; a model that was must be named",
            fix="midfill fill qwen2.5-coder-1.5b-instruct-q4_k_m ...",
        )
    return name or default_model()
