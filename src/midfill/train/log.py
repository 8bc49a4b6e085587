"""The record of a run: a line of JSON for each event, and the same numbers to whoever watches.

{"kind": "step", "step": 120, "loss": 3.21, "bits_per_byte": 1.4, "lr": 0.0004, ...}
{"kind": "evaluation", ...}   {"kind": "sample", ...}   {"kind": "note", ...}
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from midfill.corpus.whole import replacing
from midfill.errors import ConfigError, ResourceError

LOG = "log.jsonl"
TRACKERS = ("tensorboard", "wandb", "trackio")


class Tracker(Protocol):
    """Where numbers go beside the log."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the numbers of a step."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class Log:
    """Appends to RUN/log.jsonl, and forgets the steps that a resumed run takes again."""

    def __init__(self, folder: Path, tracker: Tracker | None = None) -> None:
        self._path = folder / LOG
        self._tracker = tracker
        self._file = self._path.open("a", encoding="utf-8")

    def resume(self, step: int) -> None:
        """Forget what was logged behind `step`, and a line that a kill cut off."""
        self._file.close()
        kept = [line for line in read(self._path.parent) if line.get("step", 0) <= step]
        with replacing(self._path) as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in kept)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add an event; a reader sees it at once."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        if self._tracker is not None:
            self._tracker.log({f"{kind}/{name}": x for name, x in _numbers(values)}, step)

    def close(self) -> None:
        """Close the file and the tracker."""
        self._file.close()
        if self._tracker is not None:
            self._tracker.close()


def read(folder: Path) -> list[dict[str, Any]]:
    """The events of a run, in order, without a last line that is not whole."""
    events = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / LOG).read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
    return events


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, int | float):
            yield name, float(value)
        elif isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", x) for inner, x in _numbers(value))


def open_tracker(name: str | None, folder: Path, config: Mapping[str, Any]) -> Tracker | None:
    """The tracker of that name, None for none. Raises ConfigError, ResourceError."""
    if name is None:
        return None
    if name not in TRACKERS:
        raise ConfigError(
            f"no tracker is called {name!r}",
            why=f"known are {', '.join(TRACKERS)}",
            fix="--track tensorboard, or none: RUN/log.jsonl has every number",
        )
    try:
        if name == "tensorboard":
            return _TensorBoard(folder)
        return _Service(name, folder, config)
    except ImportError as error:
        raise ResourceError(
            f"{name} is not installed", why=str(error), fix=f"pip install {name}"
        ) from error


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Service:
    """Weights & Biases, and trackio, which has its interface."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        import importlib

        self._module = importlib.import_module(name)
        more = {"dir": os.fspath(folder)} if name == "wandb" else {}
        self._module.init(project="midfill", name=folder.name, config=dict(config), **more)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._module.log(dict(values), step=step)

    def close(self) -> None:
        self._module.finish()
