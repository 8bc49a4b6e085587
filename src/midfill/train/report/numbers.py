"""A run in numbers, as its log has them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from midfill.train.report.record import Column, Event, Load, Record, number

EVEN = 2.0  # the largest load over the mean that we call even
LAST = 100  # steps that the mean at the end is taken over
_NAMED = 200  # steps that are left out and named


def collect(record: Record) -> dict[str, Any]:
    """Everything about a run that JSON can hold: None for what is unknown or no number."""
    steps = record.steps
    last = {name: float(column[-1]) for name, column in steps.items() if len(column)}
    ends = {name: mean(steps[name][-LAST:]) for name in ("loss", "bits_per_byte")}
    evaluations = [
        {name: number(event.get(name)) for name in ("step", "loss", "bits_per_byte", "tokens")}
        for event in record.events["evaluation"]
    ]
    left_out = steps["step"][steps["left_out"] == 1]
    baseline = record.setting("baseline")
    numbers = {
        "name": record.name,
        "finished": record.finished,
        "run": record.run,
        "steps": len(steps["step"]),
        "last": last,
        "mean_of_last": ends | {"steps": min(LAST, len(steps["step"]))},
        "held_out": evaluations,
        "best_held_out": min(evaluations, key=_loss, default=None),
        "baseline": baseline if isinstance(baseline, Mapping) else None,
        "below_baseline": below(record, ends),
        "tokens_per_second": _rate(last),
        "median_tokens_per_second": median(steps["tokens_per_second"]),
        "median_mfu": median(steps["mfu"]),
        "largest_grad_norm": largest(steps["grad_norm"].tolist()),
        "left_out": {"steps": len(left_out), "first": left_out[:_NAMED].tolist()},
        "no_number": int((~np.isfinite(steps["loss"])).sum()),
        "load": load(record.loads),
        "notes": record.events["note"],
        "samples": len(record.events["sample"]),
    }
    return plain(numbers)


def below(record: Record, ends: Mapping[str, float]) -> bool | None:
    """Whether the run ended below its baseline, held out where it was looked at; None: unknown.

    In bits per byte where both have them: that is what other vocabularies can be compared by.
    """
    held_out = record.events["evaluation"]
    own = held_out[-1] if held_out else ends
    for name in ("bits_per_byte", "loss"):
        ours, theirs = number(own.get(name)), number(record.setting("baseline", name))
        if not math.isnan(ours + theirs):
            return ours < theirs
    return None


def load(loads: Sequence[Load]) -> dict[str, Any] | None:
    """The loads of the last step by layer, and whether all are even; None in dense models."""
    if not loads or not loads[-1].layers:
        return None
    layers = [{"layer": name, **one} for name, one in in_order(loads[-1].layers)]
    most = [number(one.get("max")) for one in layers]
    return {
        "step": loads[-1].step,
        "layers": layers,
        "limit": EVEN,
        "largest": largest(most),
        "even": all(one <= EVEN for one in most),
    }


def in_order(layers: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Layers by their number, those that have none behind them."""

    def place(name: str) -> tuple[bool, int, str]:
        return not name.isdecimal(), int(name) if name.isdecimal() else 0, name

    return sorted(layers.items(), key=lambda item: place(item[0]))


def mean(values: Column) -> float:
    """Of the values that are numbers; NaN where none is."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan


def median(values: Column) -> float:
    """Of the values that are numbers; NaN where none is."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else math.nan


def largest(values: Iterable[float]) -> float:
    """Of the values that are numbers; NaN where none is."""
    return max(filter(math.isfinite, values), default=math.nan)


def plain(value: Any) -> Any:
    """The value with None for every number that is none, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def _loss(event: Event) -> float:
    loss = number(event.get("loss"))
    return math.inf if math.isnan(loss) else loss


def _rate(last: Mapping[str, float]) -> float:
    """Tokens for each second of training, stops not counted."""
    seconds = last.get("seconds", math.nan)
    return last["tokens"] / seconds if seconds > 0 else math.nan
