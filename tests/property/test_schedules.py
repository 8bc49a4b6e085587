"""Random schedules: whatever arrives, leaves, is preempted or not read, answers stay what they are."""

import itertools
import random

import pytest
import torch

from history_runner import WIDTH, HistoryRunner, Told, alone, check, check_empty
from midfill.config.engine import Sampling
from midfill.engine import pace, planner
from midfill.engine.request import Request
from midfill.engine.scheduler import Scheduler

BEGINNINGS = [random.Random(seed).choices(range(WIDTH), k=400) for seed in range(3)]


class Echoing:
    """A draft that repeats what followed the last token before, right or wrong."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.pending: int | None = None

    def extend(self, tokens) -> None:
        self.tokens += tokens

    def draft(self, most: int) -> list[int]:
        last = len(self.tokens) - 1
        at = next((i for i in range(last - 1, -1, -1) if self.tokens[i] == self.tokens[last]), last)
        found = self.tokens[at + 1 : at + 1 + min(most, 5)]
        self.pending = len(found)
        return found

    def judged(self, drafted: int, accepted: int) -> None:
        assert drafted <= self.pending  # a grammar may have refused the rest
        assert 0 <= accepted <= drafted


class Odd:
    """A grammar of alternating token parities in which every 5 is followed by 8, 9, 12; 3 ends it."""

    def __init__(self) -> None:
        self.even = True
        self.run: list[int] = []
        self.ended = False

    def mask(self):
        assert not self.run
        return torch.arange(WIDTH) % 2 == (0 if self.even else 1)

    def forced(self) -> list[int]:
        return list(self.run)

    def advance(self, token: int) -> None:
        if self.run:
            assert token == self.run.pop(0)
        else:
            assert token % 2 == (0 if self.even else 1)
            self.even = not self.even
            self.run = [8, 9, 12] if token == 5 else []
        self.ended = token == 3

    def copy(self) -> "Odd":
        twin = Odd()
        twin.even, twin.run, twin.ended = self.even, list(self.run), self.ended
        return twin


class Schedule:
    """A random life of one engine."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        ticks = itertools.count()
        self.scheduler = Scheduler(
            HistoryRunner((9, 14, 30, 60)[seed % 4], context=512),
            max_running=self.random.randint(1, 6),
            clock=lambda: next(ticks) * self.random.choice([0.001, 0.1]),
        )
        self.open: list[tuple[Request, Told, tuple]] = []
        self.ended: list[tuple[Told, tuple]] = []

    def submit(self) -> None:
        draw = self.random
        beginning = draw.choice(BEGINNINGS)[: draw.choice([0, 1, 63, 64, 128, 200, 256, 300, 390])]
        prompt = beginning + draw.choices(range(WIDTH), k=draw.randint(1, 30))
        sampling = Sampling(
            max_tokens=draw.choice([0, 1, 5, 20, 60]),
            temperature=draw.choice([0.0, 1.0]),
            seed=draw.randint(0, 3),
            n=draw.choice([1, 1, 1, 2, 4]),
            echo=draw.random() < 0.2,
            logprobs=draw.choice([None, 0]),
            frequency_penalty=draw.choice([0.0, 0.5]),
        )
        options = {"stop_ids": frozenset({draw.randint(0, WIDTH - 1)})}
        if draw.random() < 0.3:
            options["constraint"] = Odd
        if draw.random() < 0.5:
            options["draft"] = Echoing
        request = self.scheduler.submit(
            prompt, sampling, priority=draw.choice([0, 0, 1]), client=draw.choice("ab"), **options
        )
        options.pop("draft", None)  # the output is the same without
        self.open.append((request, Told(), (prompt, sampling, options)))

    def pull(self) -> None:
        request, said, case = self.random.choice(self.open)
        said.add(request.next_events())
        if request.done:
            self.open.remove((request, said, case))
            self.ended.append((said, case))

    def meddle(self) -> None:
        what = self.random.random()
        answers = self.scheduler.planner.answers
        if what < 0.4 and self.open:
            request, *_ = self.open.pop(self.random.randrange(len(self.open)))
            request.cancel()
            assert request.done
        elif what < 0.9 and any(a.running for a in answers):
            self.scheduler.planner.preempt(self.random.choice([a for a in answers if a.running]))
        else:
            self.scheduler.tables.tree.clear()

    def live(self, steps: int) -> None:
        for _ in range(steps):
            if len(self.open) < 8 and self.random.random() < 0.25:
                self.submit()
            if self.open:
                self.pull()
            if self.random.random() < 0.05:
                self.meddle()
            check(self.scheduler)
        while self.open:
            self.pull()
        check_empty(self.scheduler)


@pytest.mark.parametrize("seed", range(12))
def test_no_schedule_changes_an_answer(monkeypatch, seed):
    monkeypatch.setattr(planner, "AGE", random.Random(seed).choice([5, 50]))
    monkeypatch.setattr(planner, "SCORED", random.Random(seed + 1).choice([40, 256]))
    monkeypatch.setattr(pace, "PREFILL", random.Random(seed + 2).choice([30, 100, 512]))
    life = Schedule(seed)
    life.live(steps=250)
    assert len(life.ended) > 10
    for said, (prompt, sampling, options) in life.ended:
        assert said == alone(prompt, sampling, **options)


@pytest.mark.slow
def test_ten_thousand_steps_leak_no_page():
    life = Schedule(101)
    while life.scheduler.counters.steps < 10_000:
        life.live(steps=1000)
        life.ended.clear()
    counters = life.scheduler.counters
    assert (counters.pages_used, counters.running, counters.waiting) == (0, 0, 0)
    assert min(counters.preempted, counters.evicted, counters.reused, counters.accepted) > 0
