"""A model for a verb: fetched and loaded with progress on stderr, on the cores nobody else uses."""

from typing import TYPE_CHECKING

from midfill.hub import default_model, resolve
from midfill.terminal import show

if TYPE_CHECKING:
    from midfill.engine.text import Coder


def load_model(
    name: str | None, *, dtype: str, device: str, context: int | None, threads: int | None,
    quiet: bool,
) -> "Coder":  # fmt: skip
    """The model called `name`, or the default one. `threads` None: one for each idle core."""
    name = default_model() if name is None else name
    with show.progress(quiet=quiet) as report:
        resolve(name, progress=report)
    show.note(f"loading {name} ...", quiet=quiet)
    from midfill import load

    return load(name, dtype=dtype, device=device, context=context, threads=threads)
