"""Continuous batching: all requests over one network and one pool of pages.

Every step advances all answers that are being written by at least one token, and reads one slice
of the prompts that wait. Nothing runs by itself: whoever pulls the events of its request does the
next step for everybody. Token ids only. planner.py decides who is in a step, request.py says what a
request is.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from midfill.config.engine import Sampling
from midfill.config.model import MLAConfig
from midfill.engine import pace
from midfill.engine.planner import Plan, Planner
from midfill.engine.request import Answer, Counters, Draft, Matcher, Request, Token
from midfill.engine.results import FinishReason
from midfill.engine.runner import GRID, PAGE, Runner, Span
from midfill.engine.sampler import Choice, with_logprob
from midfill.engine.tables import Tables, pages_for
from midfill.errors import ResourceError


class Scheduler:
    """All requests to one runner. Safe to use from several threads: one step at a time."""

    def __init__(
        self,
        runner: Runner,
        *,
        context: int | None = None,
        max_running: int = 32,
        strict: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`strict`: pages of other prompts are shared only where they hold the very same bits."""
        self.runner = runner
        self.context = context or runner.config.context
        self.has_grid = isinstance(runner.config.attention, MLAConfig)
        self.tables = Tables(runner, strict=strict)
        self._counters = Counters()
        self.planner = Planner(
            self.tables, self._counters, context=self.context, max_running=max_running
        )
        self._clock = clock
        self._arrivals = 0
        self._lock = threading.RLock()
        self._busy = False  # in a step; a cancel from the garbage collector may come inside one
        self._cancelled: deque[tuple[Request, int | None]] = deque()

    @property
    def max_running(self) -> int:
        """How many answers are written at the same time; the others wait."""
        return self.planner.max_running

    @max_running.setter
    def max_running(self, most: int) -> None:
        self.planner.max_running = most

    @property
    def counters(self) -> Counters:
        """What has been done so far, and how full the engine is now."""
        pool, answers = self.tables.pool, list(self.planner.answers)
        running = sum(a.running for a in answers)
        return replace(
            self._counters,
            evicted=self.tables.evicted,
            running=running,
            waiting=len(answers) - running,
            pages_free=pool.free,
            pages_used=pool.used,
            pages_cached=len(self.tables.tree),
        )

    # -------------------------------------------------------------------------------- requests

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        stop_ids: frozenset[int] = frozenset(),
        priority: int = 0,
        client: Hashable = None,
        constraint: Callable[[], Matcher] | None = None,
        draft: Callable[[], Draft] | None = None,
    ) -> Request:
        """Queue a prompt that fits the context; the request gives its answers' tokens.

        Raises ResourceError where the pool could never hold it.
        """
        assert 0 < len(prompt) <= self.context
        self.check(len(prompt), sampling)
        request = Request(
            self,
            prompt,
            sampling,
            stop_ids=stop_ids,
            priority=priority,
            client=client,
            constraint=constraint,
            draft=draft,
        )
        with self._alone():
            self._arrivals += 1
            request.arrival = self._arrivals
            self.planner.arrive(request)
        return request

    def check(self, prompt: int, sampling: Sampling) -> None:
        """Raise ResourceError if a prompt of so many tokens could never be answered."""
        wanted = self.context if sampling.max_tokens is None else prompt + sampling.max_tokens
        longest = min(wanted, self.context)
        if pages_for(longest) > self.runner.pages:
            raise ResourceError(
                f"{longest} tokens do not fit the memory for the cache",
                why=f"there are {self.runner.pages} pages of {PAGE} tokens",
                fix=f"ask for at most {self.runner.pages * PAGE} tokens, the prompt included",
            )

    def take(self, request: Request) -> list[Token]:
        """The events of `request` that were not taken yet. Raises its failure."""
        with self._lock:
            events = list(request.events)
            request.events.clear()
            if not events and request.failure is not None:
                failure, request.failure = request.failure, None
                raise failure
            return events

    def cancel(self, request: Request, index: int | None = None) -> None:
        """End answer `index` of `request`, or all of them: before the next step, if not now."""
        self._cancelled.append((request, index))
        with self._lock:
            if not self._busy:
                self._sweep()

    def _sweep(self) -> None:
        """Do what was asked for while something else was done."""
        while self._cancelled:
            request, index = self._cancelled.popleft()
            if index is None:
                request.events.clear()
                self.planner.end(request)
            for answer in [a for a in request.live if a.index == index]:
                request.live.remove(answer)
                if request.begun or not request.live:  # else the others need what it reads
                    self.planner.leave(answer if request.begun else request.answers[0])

    # ------------------------------------------------------------------------------------ steps

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread is in here, and no answer ends meanwhile."""
        with self._lock:
            assert not self._busy
            self._busy = True
            try:
                with torch.inference_mode():
                    yield
            finally:
                self._busy = False
                self._sweep()

    def step(self) -> None:
        """Advance everybody; the events are on their requests."""
        with self._alone():
            self.planner.admit()
            plans = self.planner.plan()
            if plans:
                self._run(plans)

    def _run(self, plans: list[Plan]) -> None:
        began = self._clock()
        logits = self.runner.step([plan.span() for plan in plans]).cpu()
        prompt_tokens = sum(plan.count for plan in plans if not plan.answer.decoding)
        self.planner.pace.note(self._clock() - began, prompt_tokens=prompt_tokens)
        self._counters.steps += 1
        self._counters.read += sum(plan.count + len(plan.guess) for plan in plans)
        rows = logits.split([plan.wanted for plan in plans])
        for plan, own in zip(plans, rows, strict=True):
            request = plan.answer.request
            try:
                if plan.answer.running:  # another answer of its request may have failed just now
                    self._use(plan, own)
            except Exception as failure:  # the border of a request: its reader gets the error
                self.planner.end(request, failure)

    def _use(self, plan: Plan, logits: Tensor) -> None:
        """Turn what a step gave one answer into events."""
        answer = plan.answer
        request, whole = answer.request, plan.count == answer.unread
        if request.scoring:
            self._score(request, answer.read, logits)
        accepted = 0
        if whole and request.begun:
            accepted = self._write(answer, logits, plan.guess)
            if plan.looked_up and answer.draft is not None:
                self._counters.drafted += len(plan.guess)
                self._counters.accepted += accepted
                answer.draft.judged(len(plan.guess), accepted)
        answer.read += plan.count + accepted
        self.tables.keep(answer.table, answer.tokens, answer.read, answer.grid)
        if whole and not request.begun:
            self._begin(request, logits[-1])
        elif answer not in request.live and request.begun:
            self.planner.leave(answer)

    def _score(self, request: Request, start: int, logits: Tensor) -> None:
        """Tell the tokens behind position `start` with the log-probability each had."""
        self._tell_prompt(request, max(request.scored, 1))
        prompt, top = request.prompt, request.sampling.logprobs
        for position, row in enumerate(logits, start + 1):
            if request.scored <= position < len(prompt):  # not again after a preemption
                choice = with_logprob(prompt[position], row, top)
                request.events.append(Token(0, choice, of_prompt=True))
                request.scored += 1

    def _tell_prompt(self, request: Request, end: int) -> None:
        """Tell the prompt's tokens before `end`, without log-probabilities."""
        for token in request.prompt[request.scored : end]:
            request.events.append(Token(0, Choice(token), of_prompt=True))
        request.scored = max(request.scored, end)

    def _begin(self, request: Request, logits: Tensor) -> None:
        """Give all answers to a prompt that has been read their first token, and pages."""
        if request.sampling.echo:
            self._tell_prompt(request, len(request.prompt))
        request.begun = True
        reader = request.answers[0]
        for answer in list(request.live):
            answer.start()
            if answer.left:
                self._write(answer, logits[None], [])
            else:
                request.events.append(Token(answer.index, finish="length"))
                request.live.remove(answer)
        for answer in request.live:
            if answer is not reader:
                self._fork(reader, answer)
        if reader not in request.live:
            self.planner.leave(reader)

    def _fork(self, reader: Answer, answer: Answer) -> None:
        """Let `answer` share what `reader` has read; without a place or a page it waits."""
        table = self.tables.fork(reader.table) if self.planner.has_place else None
        if table is not None:
            answer.table, answer.read, answer.running = table, reader.read, True
        self.planner.answers.append(answer)

    def _write(self, answer: Answer, logits: Tensor, guess: list[int]) -> int:
        """Choose tokens as long as they are the guessed ones; how many of `guess` were right."""
        for number, row in enumerate(logits):
            choice = answer.choose(row)
            finish = self._told(answer, choice)
            if finish or number == len(guess) or choice.token != guess[number]:
                return number
        raise AssertionError("a row of logits for each guess and one more")

    def _told(self, answer: Answer, choice: Choice) -> FinishReason | None:
        """Add a token to an answer and tell it; why the answer ends with it, if it does."""
        request = answer.request
        self._counters.written += 1
        finish = answer.add(choice.token)
        if finish == "stop" and choice.token not in request.stop_ids:
            request.events.append(Token(answer.index, choice))  # it is part of the text
            request.events.append(Token(answer.index, finish=finish))
        else:
            request.events.append(Token(answer.index, choice, finish=finish))
        if finish:
            request.live.remove(answer)
        return finish

    # ----------------------------------------------------------------------------------- logits

    def logits(self, tokens: Sequence[int]) -> Float[Tensor, "T W"]:
        """Logits after each of `tokens`, in pages that are free again afterwards."""
        self.check(len(tokens), Sampling(max_tokens=0))
        grid = len(tokens) // GRID * GRID if self.has_grid else 0
        table = self.tables.new()
        with self._alone():
            try:
                while not self.tables.grow(table, len(tokens)):
                    holders = [a for a in self.planner.answers if a.table.pages]
                    self.planner.preempt(max(holders, key=self.planner.rank))
                parts = []
                for start in range(0, len(tokens), pace.PREFILL):
                    part = tokens[start : start + pace.PREFILL]
                    pages = table.pages[: pages_for(start + len(part))]
                    span = Span(
                        tokens=part, start=start, pages=pages, expanded=grid, wanted=len(part)
                    )
                    parts.append(self.runner.step([span]).cpu())
            finally:
                self.tables.release(table)
        return torch.cat(parts)
