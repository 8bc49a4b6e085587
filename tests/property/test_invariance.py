"""The compiled network under random schedules: the same tokens and the same bits as alone."""

import random
from typing import Any

import pytest

import midfill
from midfill.config.engine import Sampling
from midfill.engine.request import Request
from midfill.engine.runner import Runner
from midfill.engine.scheduler import Scheduler

TEXTS = [random.Random(seed).choices(range(256), k=600) for seed in range(2)]
Rows = dict[int, list[tuple[int, float, tuple]]]
Case = tuple[list[int], Sampling]


class HalfRight:
    """A draft that knows the answer and spoils every fifth token."""

    def __init__(self, prompt: list[int], answers: list[list[int]]) -> None:
        self.prompt, self.answers = prompt, answers
        self.said: list[int] = []

    def extend(self, tokens: Any) -> None:
        self.said += tokens

    def draft(self, most: int) -> list[int]:
        done = self.said[len(self.prompt) :]
        answer = next(a for a in self.answers if a[: len(done)] == done)
        ahead = answer[len(done) : len(done) + most]
        return [t if (len(done) + i) % 5 else t ^ 1 for i, t in enumerate(ahead)]

    def judged(self, drafted: int, accepted: int) -> None:
        pass


def cases(draw: random.Random) -> list[Case]:
    found = []
    for seed in range(8):
        begin = draw.choice(TEXTS)[: draw.choice([5, 64, 200, 256, 300, 512, 600])]
        prompt = begin + draw.choices(range(256), k=draw.randint(1, 80))
        sampling = Sampling(
            max_tokens=draw.choice([10, 60, 120]),
            temperature=draw.choice([0.0, 0.8]),
            seed=seed,
            logprobs=2,
            n=draw.choice([1, 2]),
        )
        found.append((prompt, sampling))
    return found


def rows(events: Any) -> Rows:
    found: Rows = {}
    for event in events:
        choice = event.choice
        found.setdefault(event.index, []).append((choice.token, choice.logprob, choice.top))
    return found


@pytest.fixture(scope="module")
def runner(tiny_folder) -> Runner:
    found = midfill.load(tiny_folder, device="cpu", cache_file=False).runner
    if not found.invariant:
        pytest.skip("there are no compiled kernels here")
    return found


@pytest.mark.parametrize("seed", range(3))
def test_no_schedule_changes_a_bit(runner, seed):
    draw = random.Random(seed)
    todo = cases(draw)
    alone = [rows(Scheduler(runner).submit(*case)) for case in todo]
    scheduler = Scheduler(runner, max_running=draw.choice([2, 8]))
    events: list[list[Any]] = [[] for _ in todo]
    open_: dict[int, Request] = {}
    waiting = list(range(len(todo)))
    while waiting or open_:
        if waiting and draw.random() < 0.2:
            number = waiting.pop()
            prompt = todo[number][0]
            answers = [[token for token, *_ in row] for row in alone[number].values()]
            draft = (lambda p=prompt, a=answers: HalfRight(p, a)) if draw.random() < 0.6 else None
            open_[number] = scheduler.submit(
                *todo[number], draft=draft, priority=draw.choice([0, 1])
            )
        for number, request in list(open_.items()):
            events[number] += request.next_events()
            if request.done:
                del open_[number]
        running = [a for a in scheduler.planner.answers if a.running]
        if running and draw.random() < 0.05:
            scheduler.planner.preempt(draw.choice(running))
    for number, want in enumerate(alone):
        assert rows(events[number]) == want
    counters = scheduler.counters
    assert min(counters.reused, counters.accepted, counters.preempted) > 0
