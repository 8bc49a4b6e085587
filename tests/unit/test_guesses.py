"""Drafts, grammars and shifted contexts: what an answer may do besides one token per step."""

import random

import pytest
import torch

from history_runner import WIDTH, HistoryRunner, Told, alone, check, check_empty, logits_after
from midfill.config.engine import Sampling
from midfill.engine import planner
from midfill.engine.lookup import MOST_DRAFT, Lookup
from midfill.engine.runner import PAGE
from midfill.engine.scheduler import Scheduler

SAMPLED = Sampling(max_tokens=80, temperature=1.0, seed=5, logprobs=2)


def text(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(WIDTH), k=length)


class Oracle:
    """A draft that knows the answer, and is wrong at every `wrong`-th token."""

    def __init__(self, prompt: list[int], answer: list[int], wrong: int = 10**9) -> None:
        self.whole = [*prompt, *answer]
        self.wrong = wrong
        self.at = 0
        self.judgements: list[tuple[int, int]] = []

    def extend(self, tokens) -> None:
        assert self.whole[self.at : self.at + len(tokens)] == list(tokens)
        self.at += len(tokens)

    def draft(self, most: int) -> list[int]:
        found = self.whole[self.at : self.at + most]
        return [
            (token + 1) % WIDTH if (self.at + i) % self.wrong == 0 else token
            for i, token in enumerate(found)
        ]

    def judged(self, drafted: int, accepted: int) -> None:
        self.judgements.append((drafted, accepted))


def drafted(scheduler: Scheduler, prompt: list[int], sampling: Sampling, wrong: int):
    answer = alone(prompt, sampling).tokens[0]
    draft = Oracle(prompt, answer, wrong)
    return scheduler.submit(prompt, sampling, draft=lambda: draft), draft


# ------------------------------------------------------------------------------------------ drafts


@pytest.mark.parametrize("sampling", [SAMPLED, Sampling(max_tokens=80)], ids=["drawn", "greedy"])
@pytest.mark.parametrize("wrong", [1, 2, 7, 1000])
def test_drafts_change_how_fast_and_nothing_else(sampling, wrong):
    scheduler, prompt = Scheduler(HistoryRunner(16)), text(100)
    request, draft = drafted(scheduler, prompt, sampling, wrong)
    assert Told().add(request) == alone(prompt, sampling)
    counters = scheduler.counters
    assert (counters.drafted, counters.accepted) == tuple(
        map(sum, zip(*draft.judgements, strict=True))
    )
    assert counters.steps == 80 - counters.accepted
    if wrong == 1:
        assert counters.accepted == 0
    if wrong == 1000:
        assert counters.accepted == counters.drafted
        assert counters.steps <= 80 // MOST_DRAFT + 2
    check_empty(scheduler)


def test_a_draft_reaches_no_further_than_the_answer_and_the_context():
    scheduler, prompt = Scheduler(HistoryRunner(16), context=110), text(100)
    request, draft = drafted(scheduler, prompt, Sampling(max_tokens=10), 1000)
    assert len(Told().add(request).tokens[0]) == 10
    assert draft.judgements == [(8, 8)]
    stop = alone(prompt, Sampling(max_tokens=9)).tokens[0][4]
    request, draft = drafted(scheduler, prompt, Sampling(max_tokens=10), 1000)
    request.stop_ids = frozenset({stop})
    said = Told().add(request)
    assert said.ends == {0: "stop"}
    assert said.tokens[0][-1] == stop
    assert said.tokens[0].count(stop) == 1


def test_nobody_drafts_when_many_write():
    scheduler = Scheduler(HistoryRunner(64))
    pairs = [drafted(scheduler, text(20, n), SAMPLED, 1000) for n in range(planner.DRAFTERS + 1)]
    while not all(request.begun for request, _ in pairs):
        scheduler.step()
    for _ in range(20):
        scheduler.step()
    assert scheduler.counters.drafted == 0
    pairs[0][0].cancel()
    scheduler.step()
    assert scheduler.counters.drafted > 0


def test_rejected_tokens_are_in_nobodys_pages():
    """A wrong draft crosses the end of a page: what is kept of it must be what was chosen."""
    scheduler, prompt = Scheduler(HistoryRunner(16)), text(PAGE - 4)
    request, _ = drafted(scheduler, prompt, Sampling(max_tokens=100, temperature=1, seed=1), 3)
    (answer,) = Told().add(request).tokens.values()
    again = [*prompt, *answer, 1]
    follow = scheduler.submit(again, SAMPLED)
    assert Told().add(follow) == alone(again, SAMPLED)
    assert follow.cached == (len(again) - 2) // PAGE * PAGE


def test_lookup_drafts_what_stood_before():
    """Logits that favour the next number: after one round the answer only repeats."""

    class Counting(HistoryRunner):
        def _rows(self, span):
            end = span.start + len(span.tokens)
            last = span.tokens[len(span.tokens) - span.wanted :] if span.wanted else []
            assert end <= len(span.pages) * PAGE
            return [torch.eye(WIDTH)[(token + 1) % WIDTH].numpy() * 9 for token in last]

    scheduler = Scheduler(Counting(16))
    prompt = list(range(WIDTH)) * 3
    said = Told().add(scheduler.submit(prompt, Sampling(max_tokens=200), draft=Lookup))
    assert said.tokens[0] == [i % WIDTH for i in range(200)]
    assert scheduler.counters.accepted > 150
    assert scheduler.counters.steps < 50


def test_a_draft_that_fails_hurts_only_its_request():
    class Broken(Oracle):
        def __init__(self) -> None:
            super().__init__(text(30), [])

        def draft(self, most: int) -> list[int]:
            raise ValueError("no draft")

    scheduler = Scheduler(HistoryRunner(16))
    fine, bad = (
        scheduler.submit(text(9), SAMPLED),
        scheduler.submit(text(30), SAMPLED, draft=Broken),
    )
    assert Told().add(fine) == alone(text(9), SAMPLED)
    bad._scheduler.step()
    with pytest.raises((ValueError, AssertionError)):
        Told().add(bad)
    assert bad.done
    check_empty(scheduler)


# ---------------------------------------------------------------------------------------- grammars


class Words:
    """One of some words, each of which ends the answer; what all share is forced."""

    def __init__(self, *words: list[int]) -> None:
        self.words = [list(word) for word in words]
        self.masks = 0

    @property
    def ended(self) -> bool:
        return not any(self.words)

    def mask(self):
        self.masks += 1
        allowed = torch.zeros(WIDTH, dtype=torch.bool)
        allowed[[word[0] for word in self.words if word]] = True
        return allowed

    def forced(self) -> list[int]:
        run = []
        for column in zip(*self.words, strict=True):
            if len(set(column)) > 1:
                break
            run.append(column[0])
        return run

    def advance(self, token: int) -> None:
        self.words = [word[1:] for word in self.words if word and word[0] == token]
        assert self.words

    def copy(self) -> "Words":
        return Words(*self.words)


WORDS = [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 9, 5, 6, 8], [1, 2, 3, 4, 5, 6, 0]


@pytest.mark.parametrize("seed", range(6))
def test_an_answer_obeys_its_grammar_and_forced_tokens_come_together(seed):
    scheduler = Scheduler(HistoryRunner(16))
    sampling = Sampling(max_tokens=30, temperature=1.0, seed=seed, logprobs=0)
    request = scheduler.submit(text(50), sampling, constraint=lambda: Words(*WORDS))
    said = Told().add(request)
    assert said.tokens[0] in WORDS
    assert said.ends == {0: "stop"}
    assert scheduler.counters.steps <= 4  # 1 | 2 3 . | 5 6 .: three runs for seven tokens
    assert scheduler.counters.drafted == 0
    history = [(token, False) for token in text(50)]
    for token, value in zip(said.tokens[0], said.logprobs[0], strict=True):
        logits = torch.tensor(logits_after(history), dtype=torch.float32)
        assert value == pytest.approx(float(logits.log_softmax(0)[token]), abs=1e-5)
        history.append((token, False))


def test_a_grammar_that_ends_shows_its_last_token():
    """The end is an event of its own: the token before it is text, unlike a stop id."""
    scheduler = Scheduler(HistoryRunner(16))
    request = scheduler.submit(text(50), Sampling(max_tokens=7), constraint=lambda: Words(WORDS[0]))
    events = list(request)
    assert [e.choice.token for e in events[:-1]] == WORDS[0]
    assert (events[-1].choice, events[-1].finish) == (None, "stop")
    short = scheduler.submit(text(50), Sampling(max_tokens=4), constraint=lambda: Words(WORDS[0]))
    assert Told().add(short).ends == {0: "length"}


def test_a_draft_never_leaves_the_grammar():
    scheduler, prompt = Scheduler(HistoryRunner(16)), text(50)
    words = [[a, 7, b, 9, c] for a in (1, 2) for b in (3, 4) for c in (5, 6)]
    want = alone(prompt, SAMPLED, constraint=lambda: Words(*words))
    for guess in words:
        draft = Oracle(prompt, guess)
        draft.extend = lambda tokens, draft=draft: setattr(draft, "at", draft.at + len(tokens))
        got = scheduler.submit(
            prompt, SAMPLED, constraint=lambda: Words(*words), draft=lambda draft=draft: draft
        )
        assert Told().add(got) == want


def test_a_grammar_that_fails_hurts_only_its_request():
    class Lost(Words):
        def mask(self):
            raise ValueError("lost")

    scheduler = Scheduler(HistoryRunner(16))
    fine = scheduler.submit(text(9), SAMPLED)
    bad = scheduler.submit(text(30), SAMPLED, constraint=lambda: Lost(*WORDS))
    assert Told().add(fine) == alone(text(9), SAMPLED)
    said = Told()
    with pytest.raises(ValueError, match="lost"):
        said.add(bad)
    assert bad.done
    check_empty(scheduler)


# ------------------------------------------------------------------------------- shifted contexts


@pytest.mark.parametrize("context", [128, 150, 300])
@pytest.mark.parametrize("n", [1, 3])
def test_a_shifted_answer_goes_on(context, n):
    """The runner fails if a position is left out or taken twice, also behind a shift."""
    scheduler = Scheduler(HistoryRunner(32, context=context))
    sampling = Sampling(max_tokens=1000, temperature=1, seed=1, n=n, overflow="shift")
    request = scheduler.submit(text(100), sampling)
    said = Told()
    while not request.done:
        said.add(request.next_events())
        check(scheduler)
    assert {len(tokens) for tokens in said.tokens.values()} == {1000}
    assert len(said.tokens) == n
    assert scheduler.counters.shifted > 5
    assert scheduler.counters.preempted == 0
    free = alone(text(100), Sampling(max_tokens=context - 100, temperature=1, seed=1, n=n))
    assert [t[: context - 100] for t in said.tokens.values()] == list(free.tokens.values())
    check_empty(scheduler)


def test_a_shift_keeps_the_head_and_the_newest():
    scheduler = Scheduler(HistoryRunner(32, context=512))
    request = scheduler.submit(text(500), Sampling(max_tokens=100, overflow="shift"))
    said = Told().add(request)
    last = scheduler.runner.steps[-1][0]
    seen = [slot[0] for page in last.pages for slot in scheduler.runner.slots[page] if slot]
    whole = [*text(500), *said.tokens[0]]
    end = last.start + 1
    assert seen[:PAGE] == whole[:PAGE]
    assert seen[PAGE:end] == whole[-1 - (end - PAGE) : -1]


def test_a_shifted_answer_that_is_preempted_is_read_again_without_what_it_forgot():
    scheduler = Scheduler(HistoryRunner(32, context=256))
    request = scheduler.submit(text(200), Sampling(max_tokens=400, overflow="shift"))
    said = Told()
    while not request.done:
        said.add(request.next_events())
        if scheduler.counters.written % 50 == 0 and request.live:
            scheduler.planner.preempt(request.answers[0])
            assert len(request.answers[0].tokens) <= 257
        check(scheduler)
    assert len(said.tokens[0]) == 400
    check_empty(scheduler)


def test_without_room_for_copies_a_shift_reads_again():
    scheduler = Scheduler(HistoryRunner(5, context=256))
    sampling = Sampling(max_tokens=300, n=2, temperature=1, seed=0, overflow="shift")
    said = Told().add(scheduler.submit(text(250), sampling))
    assert [len(tokens) for tokens in said.tokens.values()] == [300, 300]
    assert scheduler.counters.preempted > 0
    check_empty(scheduler)


def test_what_was_shifted_is_found_by_nobody():
    scheduler = Scheduler(HistoryRunner(32, context=256))
    request = scheduler.submit(text(200), Sampling(max_tokens=200, overflow="shift"))
    tokens = Told().add(request).tokens[0]
    for prompt in (text(200) + tokens[:50], text(200)[:PAGE] + tokens[-150:]):
        again = scheduler.submit(prompt, Sampling(max_tokens=5))
        assert Told().add(again) == alone(prompt, Sampling(max_tokens=5))


def test_a_context_too_small_to_drop_from_ends_the_answer():
    scheduler = Scheduler(HistoryRunner(8, context=100))
    request = scheduler.submit(text(90), Sampling(max_tokens=50, overflow="shift"))
    said = Told().add(request)
    assert (len(said.tokens[0]), said.ends) == (10, {0: "length"})
