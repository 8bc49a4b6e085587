"""What a run wrote down, as columns: a million steps are read in seconds.

A line that a kill cut off, and events of unknown kinds, are left out.
"""

import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from midfill.errors import TrainError
from midfill.train.log import LOG

COLUMNS = (
    "step",
    "tokens",
    "loss",
    "bits_per_byte",
    "lr",
    "grad_norm",
    "left_out",
    "seconds",
    "tokens_per_second",
    "mfu",
    "expert_loss",
)
LOADS = 4000  # steps whose loads are read, at most, evenly over the run: they are most of a log
_LAYERS = ', "layers": '  # the last entry of a step
Column = Float64[np.ndarray, "steps"]
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Loads of experts at a step: for each layer max, min, dropped, entropy; relative to the mean."""

    step: float
    layers: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run: its steps as columns, NaN where a step lacks a number, and its other events."""

    name: str
    run: Mapping[str, Any]  # run.json
    finished: bool
    steps: Mapping[str, Column]  # each step once, in order
    loads: Sequence[Load]
    events: Mapping[str, Sequence[Event]]  # evaluation, sample, note

    @classmethod
    def open(cls, folder: Path) -> "Record":
        """The run in `folder`, also one that goes on. Raises TrainError where there is none."""
        run = _run(folder)
        columns = {name: array("d") for name in COLUMNS}
        loads = _Loads()
        events: dict[str, list[Event]] = {"evaluation": [], "sample": [], "note": []}
        for event, layers in _events(folder / LOG):
            if not math.isfinite(step := number(event.get("step"))):
                continue
            if event.get("kind") == "step":
                for name, column in columns.items():
                    try:
                        column.append(event[name])
                    except (KeyError, TypeError, OverflowError):
                        column.append(number(event.get(name)))
                loads.add(step, layers)
            elif (kind := event.get("kind")) in events:
                events[kind].append(event)
        return cls(
            name=folder.resolve().name,
            run=run,
            finished=(folder / "final").is_dir(),
            steps=_once({name: np.array(column) for name, column in columns.items()}),
            loads=loads.read(),
            events=events,
        )

    def tokens_at(self, steps: Sequence[float]) -> Column:
        """Tokens trained on when each of the steps was done; 0 before the first."""
        known_steps, tokens = self._known
        if not len(tokens):
            return np.zeros(len(steps))
        return np.interp(np.array(steps, np.float64), known_steps, tokens, left=0)

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        known = np.isfinite(self.steps["tokens"])
        return self.steps["step"][known], self.steps["tokens"][known]

    def setting(self, *names: str) -> Any:
        """A value of run.json by the names that lead to it; None where it has none."""
        value: Any = self.run
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def number(value: object) -> float:
    """A number of a log; NaN for what is none."""
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.inf


def _run(folder: Path) -> Mapping[str, Any]:
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TrainError(
            f"{folder} holds no training run",
            why=f"run.json: {error.strerror}",
            fix="give the folder that was --out of midfill train",
        ) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(run, dict):
        raise _damaged(path, f"it holds a {type(run).__name__} and no object")
    return run


def _damaged(path: Path, why: str) -> TrainError:
    return TrainError(
        f"{path} is damaged",
        why=why,
        fix="copy it from a backup, or train again into another folder",
    )


def _events(path: Path) -> Iterator[tuple[Event, str | None]]:
    """The events of a log, and those of a step without its loads, which come as JSON beside it."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            head, found, layers = line.partition(_LAYERS)
            whole = found and line.endswith("}}}\n")
            try:
                event = json.loads(head + "}" if whole else line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                rest = event.pop("layers", None)
                yield event, layers[:-2] if whole else json.dumps(rest) if rest else None


class _Loads:
    """Takes the loads of every step and keeps those of at most `LOADS`, and of the last."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, str]] = []
        self._last: tuple[float, str] | None = None
        self._every, self._seen = 1, 0

    def add(self, step: float, layers: str | None) -> None:
        if layers is None:
            return
        self._last = step, layers
        if self._seen % self._every == 0:
            self._kept.append(self._last)
        self._seen += 1
        if len(self._kept) == LOADS:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def read(self) -> list[Load]:
        kept = dict(self._kept)  # a step that was taken again counts as it was at last
        if self._last is not None:
            kept |= [self._last]
        found = []
        for step, layers in sorted(kept.items()):
            try:
                loads = json.loads(layers)
            except (ValueError, RecursionError):
                continue
            if isinstance(loads, dict):
                loads = {layer: load for layer, load in loads.items() if isinstance(load, dict)}
                found.append(Load(step=step, layers=loads))
        return found


def _once(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Each step once, in order; of one that was taken again the last."""
    steps = columns["step"]
    if (np.diff(steps) > 0).all():
        return dict(columns)
    _, last = np.unique(steps[::-1], return_index=True)
    return {name: column[::-1][last] for name, column in columns.items()}
