"""The scheduler over a runner whose logits tell when a page holds the wrong tokens."""

import random
import threading
import time
from contextlib import suppress

import pytest

from history_runner import WIDTH, HistoryRunner, Told, alone, check, check_empty
from midfill.config.engine import Sampling
from midfill.engine import pace, planner
from midfill.engine.request import AHEAD, Request
from midfill.engine.runner import GRID, PAGE
from midfill.engine.scheduler import Scheduler
from midfill.errors import ResourceError

LONG = Sampling(max_tokens=150, temperature=1.0, seed=1)


def text(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(WIDTH), k=length)


def engine(pages: int = 64, **options) -> Scheduler:
    return Scheduler(HistoryRunner(pages), **options)


def told(*requests: Request) -> list[Told]:
    """All events of requests that are pulled in turn."""
    found = [Told() for _ in requests]
    while not all(request.done for request in requests):
        for request, said in zip(requests, found, strict=True):
            said.add(request.next_events())
            check(request._scheduler)
    return found


def spans(scheduler: Scheduler) -> list[list[tuple[int, int]]]:
    """Of every step: first position and length of each span."""
    return [[(s.start, len(s.tokens)) for s in step] for step in scheduler.runner.steps]


# ---------------------------------------------------------------------------------------- batching


def test_requests_advance_together_and_as_if_alone():
    scheduler = engine()
    prompts = [text(n, n) for n in (5, 70, 300, 1)]
    requests = [scheduler.submit(p, LONG) for p in prompts]
    for prompt, said in zip(prompts, told(*requests), strict=True):
        assert said == alone(prompt, LONG)
    assert max(len(step) for step in spans(scheduler)) == 4
    check_empty(scheduler)


def test_one_reader_advances_everybody():
    scheduler = engine()
    first, second = (scheduler.submit(text(9, n), LONG) for n in (1, 2))
    for _ in range(10):
        first.next_events()
    assert len(second.events) == 10
    assert Told().add(second.take()) != Told()
    assert len(second.events) == 0


def test_prompts_are_read_in_slices_that_end_on_the_grid(monkeypatch):
    monkeypatch.setattr(pace, "PREFILL", 300)
    scheduler = engine()
    assert told(scheduler.submit(text(1000), LONG))[0] == alone(text(1000), LONG)
    assert spans(scheduler)[:4] == [[(0, 256)], [(256, 256)], [(512, 256)], [(768, 232)]]
    assert {s.expanded for step in scheduler.runner.steps for s in step} == {1000 // GRID * GRID}


def test_a_prompt_does_not_hold_up_those_who_write():
    """A slice costs what the target leaves: 10 ms a step, 1 ms a prompt token, 50 ms in all."""
    now = [0.0]
    scheduler = Scheduler(HistoryRunner(64), clock=lambda: now[0])
    step = scheduler.runner.step

    def timed(given):
        now[0] += 0.01 + 0.001 * sum(len(s.tokens) for s in given if len(s.tokens) > 1)
        return step(given)

    scheduler.runner.step = timed
    writing = scheduler.submit(text(200), Sampling(max_tokens=200))
    for _ in range(20):
        writing.next_events()
    reading = scheduler.submit(text(1000, 1), Sampling(max_tokens=1))
    before = len(scheduler.runner.steps)
    told(reading)
    slices = [max(n for _, n in step) for step in spans(scheduler)[before:]]
    assert max(slices) <= 50
    assert min(slices[:-1]) >= pace.LEAST
    assert all(len(step) == 2 for step in spans(scheduler)[before:])


def test_pace_of_large_and_small_models():
    estimate = pace.Pace()
    assert estimate.slice(decoding=False) == pace.PREFILL
    assert estimate.slice(decoding=True) == pace.UNKNOWN
    for _ in range(100):
        estimate.note(0.010, prompt_tokens=0)
        estimate.note(0.030, prompt_tokens=20)
    assert estimate.slice(decoding=True) == pytest.approx(40, abs=1)
    for _ in range(100):
        estimate.note(0.150, prompt_tokens=0)
        estimate.note(0.350, prompt_tokens=20)
    assert estimate.slice(decoding=True) == pace.LEAST
    assert pace.cut_at_grid(100, 500) == 412
    assert pace.cut_at_grid(100, 50) == 50


# ---------------------------------------------------------------------------------- shared prompts


def test_a_second_turn_reads_only_what_is_new():
    scheduler = engine()
    prompt = text(330)
    (first,) = told(scheduler.submit(prompt, LONG))
    again = [*prompt, *first.tokens[0], *text(20, 5)]
    second = scheduler.submit(again, LONG)
    assert told(second)[0] == alone(again, LONG)
    assert second.cached == (330 + 150 - 1) // PAGE * PAGE
    assert scheduler.counters.reused == second.cached


def test_two_of_one_prompt_read_it_once():
    scheduler = engine()
    prompt = text(1000)
    first = scheduler.submit([*prompt, 1, 2], LONG)
    second = scheduler.submit([*prompt, 3, 4, 5], LONG)
    one, two = told(first, second)
    assert (one, two) == (alone([*prompt, 1, 2], LONG), alone([*prompt, 3, 4, 5], LONG))
    assert (first.cached, second.cached) == (0, 1000 // PAGE * PAGE)
    read = sum(n for step in spans(scheduler) for _, n in step if n > 1)
    assert read == 1002 + 1003 - second.cached


def test_the_second_goes_on_when_the_first_is_cancelled_half_way():
    scheduler = engine()
    prompt = text(1500)
    first, second = (scheduler.submit(prompt, LONG) for _ in range(2))
    scheduler.step()
    scheduler.step()
    first.cancel()
    assert told(second)[0] == alone(prompt, LONG)
    assert second.cached >= 2 * pace.PREFILL // PAGE * PAGE
    check_empty(scheduler)


def test_a_prompt_is_never_reused_to_its_last_token():
    scheduler = engine()
    for length in (PAGE, 2 * PAGE, 2 * PAGE + 1):
        prompt = text(length)
        for _ in range(2):
            request = scheduler.submit(prompt, LONG)
            assert told(request)[0] == alone(prompt, LONG)
            assert request.cached <= length - 1


def test_answers_to_one_prompt_share_its_pages():
    scheduler = engine()
    several = Sampling(max_tokens=30, temperature=1.0, seed=4, n=5)
    request = scheduler.submit(text(300), several)
    while not request.begun:
        request.next_events()
    assert scheduler.counters.pages_used == 300 // PAGE + 5  # only the last page five times
    said = Told().add(request.events)
    request.events.clear()
    said.add(request)
    want = alone(text(300), several)
    assert {k: v[-20:] for k, v in said.tokens.items()} == {
        k: v[-20:] for k, v in want.tokens.items()
    }
    assert len({tuple(tokens) for tokens in want.tokens.values()}) == 5
    check_empty(scheduler)


@pytest.mark.parametrize("strict", [True, False])
def test_fast_mode_reuses_pages_of_another_form(strict):
    scheduler = Scheduler(HistoryRunner(64, forms=False), strict=strict)
    told(scheduler.submit(text(600), Sampling(max_tokens=1)))
    request = scheduler.submit(text(600) + text(200, 1), Sampling(max_tokens=1))
    told(request)
    assert request.cached == (600 // GRID * GRID if strict else 600 // PAGE * PAGE)


def test_grouped_attention_has_no_forms():
    scheduler = Scheduler(HistoryRunner(64, latent=False))
    told(scheduler.submit(text(600), Sampling(max_tokens=1)))
    request = scheduler.submit(text(600) + text(200, 1), Sampling(max_tokens=1))
    told(request)
    assert request.cached == 600 // PAGE * PAGE
    assert {s.expanded for step in scheduler.runner.steps for s in step} == {0}


# --------------------------------------------------------------------------------- echo and scores


@pytest.mark.parametrize("logprobs", [None, 0, 3])
def test_an_echoed_prompt_is_told_once(monkeypatch, logprobs):
    monkeypatch.setattr(planner, "SCORED", 50)
    scheduler = engine()
    sampling = Sampling(max_tokens=3, echo=True, logprobs=logprobs, n=2)
    prompt = text(200)
    told(scheduler.submit(prompt, Sampling(max_tokens=1)))
    request = scheduler.submit(prompt, sampling)
    (said,) = told(request)
    assert said == alone(prompt, sampling)
    assert [token for token, _ in said.prompt] == prompt
    assert said.prompt[0][1] is None
    assert all((value is None) == (logprobs is None) for _, value in said.prompt[1:])
    assert request.cached == (0 if logprobs is not None else 3 * PAGE)


def test_a_scored_prompt_that_is_preempted_is_told_once(monkeypatch):
    monkeypatch.setattr(planner, "SCORED", 50)
    scheduler = engine()
    sampling = Sampling(max_tokens=3, echo=True, logprobs=0)
    request = scheduler.submit(text(300), sampling)
    said = Told()
    for step in range(40):
        said.add(request.next_events())
        if step in (1, 4) and not request.begun:
            scheduler.planner.preempt(request.answers[0])
    assert said == alone(text(300), sampling)


# ------------------------------------------------------------------------------ ends and cancelling


def test_ends():
    scheduler = engine()
    assert told(scheduler.submit(text(9), Sampling(max_tokens=0)))[0].ends == {0: "length"}
    one = told(scheduler.submit(text(9), Sampling(max_tokens=1)))[0]
    assert (len(one.tokens[0]), one.ends) == (1, {0: "length"})
    free = told(scheduler.submit(text(9), LONG))[0].tokens[0]
    stop = free[20]
    cut = told(scheduler.submit(text(9), LONG, stop_ids=frozenset({stop})))[0]
    assert cut.tokens[0] == free[: free.index(stop) + 1]
    assert cut.ends == {0: "stop"}
    small = engine(context=100)
    assert len(told(small.submit(text(90), Sampling()))[0].tokens[0]) == 10
    check_empty(small)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_cancelling_frees_all_pages_at_once(steps):
    scheduler = engine()
    request = scheduler.submit(text(700), Sampling(max_tokens=100, n=3, seed=0, temperature=1))
    for _ in range(steps):
        request.next_events()
    before = len(scheduler.runner.steps)
    request.cancel()
    assert (request.done, request.next_events()) == (True, [])
    check_empty(scheduler)
    assert len(scheduler.runner.steps) == before


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("steps", [0, 3, 8])
def test_cancelling_one_answer_leaves_the_others(index, steps):
    sampling = Sampling(max_tokens=40, n=2, seed=0, temperature=1)
    scheduler = engine()
    request = scheduler.submit(text(700), sampling)
    said = Told()
    for _ in range(steps):
        said.add(request.next_events())
    request.cancel(index)
    said.add(request)
    want = alone(text(700), sampling)
    assert said.tokens[1 - index] == want.tokens[1 - index]
    assert len(said.tokens.get(index, [])) < 40
    check_empty(scheduler)


def test_a_cancel_within_a_step_waits_for_its_end():
    """As the garbage collector may do it, in the same thread."""
    scheduler = engine()
    request = scheduler.submit(text(20), LONG)
    request.next_events()
    step = scheduler.runner.step

    def meddling(given):
        request.cancel()
        assert scheduler.planner.answers
        return step(given)

    scheduler.runner.step = meddling
    assert request.next_events() == []
    assert request.done
    check_empty(scheduler)


# ------------------------------------------------------------------------------------------ memory


def test_out_of_pages_the_youngest_goes_and_comes_back():
    scheduler = engine(pages=12)
    prompts = [text(200, n) for n in range(3)]
    requests = [
        scheduler.submit(p, Sampling(max_tokens=300, temperature=1, seed=2)) for p in prompts
    ]
    for prompt, said in zip(prompts, told(*requests), strict=True):
        assert said == alone(prompt, Sampling(max_tokens=300, temperature=1, seed=2))
    assert scheduler.counters.preempted > 0
    check_empty(scheduler)


def test_the_oldest_is_never_preempted():
    scheduler = engine(pages=12)
    first, *others = (scheduler.submit(text(200, n), Sampling(max_tokens=300)) for n in range(3))
    tokens = 0
    while not first.done:
        new = first.next_events()
        tokens += len(new)
        assert first.done or first.answers[0].running
        for other in others:
            other.take()
    assert tokens == 300


def test_preempted_at_any_moment_an_answer_stays_the_same():
    scheduler, random_ = engine(), random.Random(3)
    sampling = Sampling(max_tokens=200, temperature=1, seed=2, logprobs=0, repetition_penalty=1.3)
    request = scheduler.submit(text(300), sampling)
    said = Told()
    while not request.done:
        said.add(request.next_events())
        if random_.random() < 0.2 and scheduler.planner.answers:
            scheduler.planner.preempt(request.answers[0])
            if random_.random() < 0.5:
                scheduler.tables.tree.clear()
    assert said == alone(text(300), sampling)


def test_old_prompts_make_room_before_anybody_is_preempted():
    scheduler = engine(pages=16)
    for number in range(6):
        told(scheduler.submit(text(300, number), Sampling(max_tokens=20)))
    assert scheduler.counters.evicted > 0
    assert scheduler.counters.preempted == 0


def test_what_can_never_fit_is_refused():
    scheduler = engine(pages=3)
    scheduler.submit(text(100), Sampling(max_tokens=92)).cancel()
    with pytest.raises(ResourceError, match="193 tokens do not fit") as caught:
        scheduler.submit(text(100), Sampling(max_tokens=93))
    assert "at most 192 tokens" in caught.value.fix
    with pytest.raises(ResourceError):
        scheduler.submit(text(10), Sampling())


def test_more_answers_than_pages_come_one_after_the_other():
    scheduler = engine(pages=4)
    sampling = Sampling(max_tokens=100, n=8, temperature=1, seed=9)
    assert told(scheduler.submit(text(100), sampling))[0] == alone(text(100), sampling)
    check_empty(scheduler)


def test_no_more_than_max_running_at_a_time():
    scheduler = engine(max_running=2)
    sampling = Sampling(max_tokens=20, n=5, temperature=1, seed=9)
    one, other = scheduler.submit(text(100), sampling), scheduler.submit(text(50, 1), sampling)
    assert told(one, other) == [alone(text(100), sampling), alone(text(50, 1), sampling)]
    assert max(len(step) for step in spans(scheduler)) == 2


def test_logits_take_pages_and_give_them_back():
    scheduler = engine(pages=12)
    tokens = text(700)
    request = scheduler.submit(text(200, 1), LONG)
    said = Told().add(request.next_events()).add(request.next_events())
    got = scheduler.logits(tokens)
    assert got.shape == (700, WIDTH)
    assert got.argmax(-1)[-1] == alone(tokens, Sampling(max_tokens=1)).tokens[0][0]
    assert said.add(request) == alone(text(200, 1), LONG)
    check_empty(scheduler)
    with pytest.raises(ResourceError):
        scheduler.logits(text(12 * PAGE + 1))


# -------------------------------------------------------------------------------- order and readers


def test_a_fill_goes_before_a_long_prompt_half_read():
    scheduler = engine()
    chat = scheduler.submit(text(2000), Sampling(max_tokens=5))
    scheduler.step()
    fill = scheduler.submit(text(700, 1), Sampling(max_tokens=5), priority=1)
    while not fill.begun:
        fill.next_events()
    assert chat.answers[0].read == pace.PREFILL
    assert told(chat)[0] == alone(text(2000), Sampling(max_tokens=5))


def test_a_fill_takes_the_place_of_a_chat():
    scheduler = engine(max_running=1)
    chat = scheduler.submit(text(100), LONG)
    said = Told().add(chat.next_events()).add(chat.next_events())
    fill = scheduler.submit(text(50, 1), Sampling(max_tokens=3), priority=1)
    for _ in range(3):
        fill.next_events()
    assert fill.done
    assert said.add(chat) == alone(text(100), LONG)
    assert scheduler.counters.preempted == 1


def test_nobody_waits_for_ever(monkeypatch):
    monkeypatch.setattr(planner, "AGE", 10)
    scheduler = engine(max_running=1)
    chat = scheduler.submit(text(100), Sampling(max_tokens=1))
    for number in range(100):
        fill = scheduler.submit(text(300, number), Sampling(max_tokens=1), priority=1)
        fill.next_events()
        if chat.begun:
            break
        list(fill)
    assert 5 < number < 30


def test_clients_take_turns():
    scheduler = engine()
    order = []
    greedy = [scheduler.submit(text(512, n), Sampling(max_tokens=1), client="a") for n in range(6)]
    scheduler.step()
    modest = scheduler.submit(text(512, 9), Sampling(max_tokens=1), client="b")
    late = scheduler.submit(text(512, 10), Sampling(max_tokens=1), client="a")
    requests = {f"a{n}": r for n, r in enumerate(greedy)} | {"b": modest, "late": late}
    while not all(r.begun for r in requests.values()):
        scheduler.step()
        order += [name for name, r in requests.items() if r.begun and name not in order]
    assert order == ["a0", "a1", "b", "a2", "a3", "a4", "a5", "late"]


def test_a_reader_that_does_not_read_is_waited_for():
    scheduler = engine()
    idle, busy = scheduler.submit(text(9), LONG), scheduler.submit(text(9, 1), LONG)
    list(busy)
    assert len(idle.events) == AHEAD
    assert Told().add(idle) == alone(text(9), LONG)


def test_idle_readers_hold_neither_places_nor_pages():
    scheduler = engine(pages=10, max_running=2)
    idle = [scheduler.submit(text(150, n), LONG) for n in range(2)]
    while not all(request.paused for request in idle):
        scheduler.step()
    busy = scheduler.submit(text(400, 7), LONG)
    assert told(busy)[0] == alone(text(400, 7), LONG)
    assert scheduler.counters.preempted > 0
    for number, request in enumerate(idle):
        assert Told().add(request) == alone(text(150, number), LONG)


def test_two_threads_at_one_engine():
    scheduler = engine()
    found: dict[int, Told] = {}

    def use(number: int) -> None:
        for round_ in range(3):
            request = scheduler.submit(text(100, number), LONG)
            found[10 * number + round_] = Told().add(request)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 9
    assert all(said == alone(text(100, n // 10), LONG) for n, said in found.items())
    check_empty(scheduler)


def test_a_step_that_fails_is_done_again():
    scheduler = engine()
    requests = [scheduler.submit(text(n, n), LONG) for n in (100, 700)]
    step, calls = scheduler.runner.step, 0

    def failing(given):
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise MemoryError
        return step(given)

    scheduler.runner.step = failing
    found = [Told() for _ in requests]
    while not all(request.done for request in requests):
        for request, said in zip(requests, found, strict=True):
            with suppress(MemoryError):
                said.add(request.next_events())
            check(scheduler)
    assert found == [alone(text(n, n), LONG) for n in (100, 700)]
    check_empty(scheduler)


def test_a_thousand_waiting_requests_cost_little():
    scheduler = engine(max_running=4)
    short = Sampling(max_tokens=1)
    requests = [scheduler.submit(text(5, n), short, client="a") for n in range(1000)]
    last = scheduler.submit(text(5, 1), short, client="b")
    began = time.perf_counter()
    list(last)
    assert time.perf_counter() - began < 2  # and behind the first of the others, not the last
    assert sum(request.begun for request in requests) < 20
