"""The learning rate over a run, as a share of its peak.

Sources: DeepSeek-V2 §3.1.2 (multi-step), DeepSeek-Coder-V2 §3 (cosine), arXiv 2404.06395 §4 (warm-up,
stable, decay). Steps count from 0; the last of a run has the final share.
"""

import math
from dataclasses import dataclass

from midfill.config.train import ScheduleConfig


@dataclass(frozen=True, slots=True)
class Fall:
    """Where a `stable_decay` run falls, and so where it ends. Part of a checkpoint, once decided."""

    start: int  # the first step below the peak
    steps: int  # at least 1; the last of them has the final share

    @property
    def end(self) -> int:
        """How many steps the run has."""
        return self.start + self.steps


def share(
    config: ScheduleConfig,
    step: int,
    steps: int,
    *,
    done: float | None = None,
    fall: Fall | None = None,
) -> float:
    """The share of the peak with which step `step` of `steps` is taken.

    `done`: the share of the run's tokens before it, where batches grow; only "multi_step" asks.
    `fall`: by the clock, what `decide_fall` decided; until then the rate stays at its peak.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.shape == "multi_step":
        passed = step / steps if done is None else done
        return config.factor ** sum(passed >= at for at in config.at)
    if config.shape == "cosine":
        along = _along(step, config.warmup_steps - 1, steps - 1)
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * along)) / 2
    if fall is None:
        if config.minutes is not None:
            return 1.0
        fall = planned_fall(config, steps)
    along = _along(step, fall.start - 1, fall.end - 1)
    return 1 - (1 - config.final) * along


def planned_fall(config: ScheduleConfig, steps: int) -> Fall:
    """The last `decay` of a run whose number of steps is known."""
    length = max(round(steps * config.decay), 1)
    return Fall(steps - length, length)


def decide_fall(
    config: ScheduleConfig, step: int, *, used: float, left: float, step_seconds: float
) -> Fall | None:
    """Where a run by the clock falls, if it must begin at `step`; None: not yet.

    `used` and `left` are seconds of the run's time, `step_seconds` what a step takes now. Decided
    once: keep the answer, also in checkpoints, and the rate is a function of the step again.
    """
    if left - step_seconds > config.decay * (used + left):
        return None  # there is time for one more step at the peak
    return Fall(step, max(int(left / step_seconds), 1))


def _along(step: int, start: int, end: int) -> float:
    """How far `step` is from `start` (0) to `end` (1)."""
    return min(max((step - start) / max(end - start, 1), 0.0), 1.0)
