"""The learning rate: bounds, continuity, both ends, and the fall that the clock decides."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.config.train import ScheduleConfig
from midfill.train.schedule import Fall, decide_fall, planned_fall, share

SHAPES = ["cosine", "multi_step", "stable_decay"]


@st.composite
def runs(draw: Any) -> tuple[ScheduleConfig, int]:
    steps = draw(st.integers(2, 400))
    config = ScheduleConfig(
        shape=draw(st.sampled_from(SHAPES)),
        warmup_steps=draw(st.integers(0, steps // 2)),
        final=draw(st.floats(0, 1)),
        decay=draw(st.floats(0, 0.5)),
        factor=draw(st.floats(0.1, 1)),
    )
    return config, steps


@given(runs())
def test_it_stays_within_its_bounds_and_only_rises_while_warming_up(run):
    config, steps = run
    shares = [share(config, step, steps) for step in range(steps)]
    warm = shares[: config.warmup_steps]
    assert warm == [(i + 1) / config.warmup_steps for i in range(len(warm))]
    least = config.factor ** len(config.at) if config.shape == "multi_step" else config.final
    for before, after in itertools.pairwise(shares[config.warmup_steps :]):
        assert least - 1e-9 <= after <= before + 1e-12 <= 1 + 1e-9


@given(runs())
def test_the_last_step_has_the_final_share(run):
    config, steps = run
    want = config.final
    if config.shape == "multi_step":
        want = config.factor ** sum((steps - 1) / steps >= at for at in config.at)
    assert share(config, steps - 1, steps) == pytest.approx(want)


@given(runs())
def test_it_has_no_jumps_but_those_of_multi_step(run):
    config, steps = run
    if config.shape == "multi_step":
        return
    fall = (
        steps - config.warmup_steps
        if config.shape == "cosine"
        else planned_fall(config, steps).steps
    )
    most = max(1 / max(config.warmup_steps, 1), (1 - config.final) * math.pi / 2 / fall) + 1e-9
    shares = [share(config, step, steps) for step in range(steps)]
    assert all(abs(a - b) <= most for a, b in itertools.pairwise(shares))


def test_multi_step_falls_at_shares_of_the_tokens():
    config = ScheduleConfig(shape="multi_step", warmup_steps=0)
    found = [share(config, 5, 10, done=done) for done in (0.59, 0.6, 0.89, 0.9)]
    assert found == pytest.approx([1.0, 0.316, 0.316, 0.316**2])


@given(
    minutes=st.floats(0.5, 1e4),
    decay=st.floats(0.01, 0.9),
    seconds=st.floats(0.01, 30),
)
def test_a_run_by_the_clock_ends_annealed_and_in_time(minutes: float, decay: float, seconds: float):
    config = ScheduleConfig(
        shape="stable_decay", warmup_steps=0, decay=decay, minutes=minutes, final=0.1
    )
    total, fall = 60 * minutes, None
    # jump close to where the fall must begin, then step by step
    step = max(int((1 - decay) * total / seconds) - 3, 0)
    while fall is None:
        used = step * seconds
        fall = decide_fall(config, step, used=used, left=total - used, step_seconds=seconds)
        assert fall is not None or share(config, step, 1) == 1.0
        step += 1
    assert fall.end * seconds <= total + seconds
    assert (fall.end + 2) * seconds > total
    if fall.start > 0:
        assert share(config, fall.start - 1, 1, fall=fall) == 1.0
    assert share(config, fall.end - 1, 1, fall=fall) == pytest.approx(0.1)


def test_a_fall_that_was_decided_stays():
    config = ScheduleConfig(shape="stable_decay", warmup_steps=2, minutes=1.0, final=0.0)
    fall = Fall(10, 4)
    assert [share(config, s, 99, fall=fall) for s in range(8, 14)] == [1, 1, 0.75, 0.5, 0.25, 0]
    assert fall.end == 14
