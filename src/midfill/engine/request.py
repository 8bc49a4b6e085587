"""A request to the scheduler: one prompt, its answers, and the events its reader pulls."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jaxtyping import Bool
from torch import Tensor

from midfill.config.engine import Sampling
from midfill.engine.results import FinishReason
from midfill.engine.runner import GRID, PAGE
from midfill.engine.sampler import Choice, Sampler
from midfill.engine.tables import Table

if TYPE_CHECKING:
    from midfill.engine.scheduler import Scheduler

AHEAD = 64  # events a reader may be behind before its request waits for it


@dataclass(frozen=True, slots=True)
class Token:
    """One event of answer `index`: a token of it, or of its prompt, or only its end."""

    index: int
    choice: Choice | None = None
    of_prompt: bool = False
    finish: FinishReason | None = None


@dataclass(slots=True, kw_only=True)
class Counters:
    """What an engine has done so far, and how full it is now."""

    steps: int = 0
    read: int = 0  # tokens that went through the network, guesses included
    reused: int = 0  # tokens found in the prefix tree instead
    written: int = 0  # tokens of answers
    drafted: int = 0
    accepted: int = 0
    preempted: int = 0
    shifted: int = 0
    evicted: int = 0  # pages
    running: int = 0  # answers that have a place
    waiting: int = 0  # answers that have none
    pages_free: int = 0
    pages_used: int = 0
    pages_cached: int = 0  # of the used: in the prefix tree, whoever else holds them


class Draft(Protocol):
    """Guesses how an answer goes on."""

    def extend(self, tokens: Sequence[int]) -> None:
        """Learn what follows: first the prompt, then what was chosen."""
        ...

    def draft(self, most: int) -> list[int]:
        """At most so many tokens that may come next."""
        ...

    def judged(self, drafted: int, accepted: int) -> None:
        """Learn how many of the last draft's tokens were right."""
        ...


class Matcher(Protocol):
    """Where an answer is in its grammar."""

    @property
    def ended(self) -> bool:
        """Whether only an end may follow."""
        ...

    def mask(self) -> Bool[Tensor, " W"] | None:
        """Which tokens may come next; None: any."""
        ...

    def advance(self, token: int) -> None:
        """Take `token`, which the mask allowed."""
        ...

    def forced(self) -> list[int]:
        """Tokens that must come next."""
        ...

    def copy(self) -> "Matcher":
        """Another one at the same place."""
        ...


class Answer:
    """One sequence: its tokens, its pages, and what chooses its next token."""

    def __init__(self, request: "Request", index: int, table: Table) -> None:
        self.request = request
        self.index = index
        self.tokens = list(request.prompt) if index == 0 else []
        self.read = 0  # so many tokens, from the first on, are in the pages
        self.table = table
        self.sampler = Sampler(request.sampling, request.prompt, index)
        self.left = request.longest
        self.grid = request.grid
        self.draft: Draft | None = None
        self.matcher: Matcher | None = None
        self.running = False  # has a place among those that are advanced
        self.starved = 0  # steps that could have advanced it and did not

    @property
    def unread(self) -> int:
        """How many tokens the network has still to see before it gives the next one."""
        return len(self.tokens) - self.read

    @property
    def decoding(self) -> bool:
        """Whether each step gives it a token."""
        return self.request.begun and self.unread == 1

    def start(self) -> None:
        """Begin to write: the prompt has been read."""
        request = self.request
        self.tokens = list(request.prompt)
        self.matcher = request.constraint() if request.constraint else None
        if request.draft:
            self.draft = request.draft()
            self.draft.extend(request.prompt)

    def add(self, token: int) -> FinishReason | None:
        """Take a chosen token; why the answer ends with it, if it does."""
        self.tokens.append(token)
        self.left -= 1
        if token in self.request.stop_ids:
            return "stop"
        if self.draft is not None:
            self.draft.extend([token])
        if self.matcher is not None:
            self.matcher.advance(token)
            if self.matcher.ended:
                return "stop"
        return None if self.left else "length"

    def choose(self, logits: Tensor) -> Choice:
        """The next token after `logits`; none is left to choose where the grammar forces one."""
        if self.matcher is None:
            return self.sampler(logits)
        forced = self.matcher.forced()
        if forced:
            return self.sampler.take(forced[0], logits)
        return self.sampler(logits, self.matcher.mask())

    def guess(self, most: int, *, look_up: bool) -> tuple[list[int], bool]:
        """Tokens to read ahead with the next one, and whether the draft guessed them."""
        if most < 1:
            return [], False
        if self.matcher is not None and (forced := self.matcher.forced()):
            return forced[:most], False
        if self.draft is None or not look_up:
            return [], False
        return self._allowed(self.draft.draft(most)[:most]), True

    def _allowed(self, tokens: list[int]) -> list[int]:
        """Those of `tokens` that the grammar lets pass."""
        if self.matcher is None or not tokens:
            return tokens
        matcher = self.matcher.copy()
        for number, token in enumerate(tokens):
            if matcher.ended or not _may_follow(matcher, token):
                return tokens[:number]
            matcher.advance(token)
        return tokens


def _may_follow(matcher: Matcher, token: int) -> bool:
    forced = matcher.forced()
    if forced:
        return token == forced[0]
    mask = matcher.mask()
    return mask is None or bool(mask[token])


class Request:
    """Answers to one prompt; iterate over it for its events, or pull them with `next_events`."""

    def __init__(
        self,
        scheduler: "Scheduler",
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        stop_ids: frozenset[int],
        priority: int,
        client: Hashable,
        constraint: Callable[[], Matcher] | None,
        draft: Callable[[], Draft] | None,
    ) -> None:
        self._scheduler = scheduler
        self.prompt = list(prompt)
        self.sampling = sampling
        self.stop_ids = frozenset() if sampling.ignore_eos else stop_ids
        self.priority = priority
        self.client = client
        self.constraint, self.draft = constraint, draft
        self.longest = self._possible(sampling.max_tokens)
        self.grid = len(self.prompt) // GRID * GRID if scheduler.has_grid else 0
        self.cached = 0  # tokens of the prompt that were found read already
        self.typed, self.adopted = "", 0  # nothing was written before it came
        self.scored = 0  # tokens of the prompt whose events are out
        self.begun = False  # the prompt is read and each answer has its first token
        self.turn = self.arrival = 0  # set by the scheduler
        self.events: deque[Token] = deque()
        self.failure: Exception | None = None
        self.resting = False  # it may be wanted again, but nobody waits for it
        self.cancelled = False
        self.answers = [Answer(self, i, scheduler.tables.new()) for i in range(sampling.n)]
        self.live = list(self.answers)  # those that have not ended

    @property
    def scoring(self) -> bool:
        """Whether the log-probabilities of its prompt are wanted and not yet known."""
        return not self.begun and self.sampling.echo and self.sampling.logprobs is not None

    @property
    def paused(self) -> bool:
        """Whether it waits for its reader."""
        return self.resting or len(self.events) >= AHEAD

    @property
    def done(self) -> bool:
        """Whether every answer has ended and every event was taken."""
        return not self.live and not self.events and self.failure is None

    def take(self) -> list[Token]:
        """The events that are there. Raises what its own grammar or draft raised."""
        return self._scheduler.take(self)

    def next_events(self) -> list[Token]:
        """The events that are there, or those of one step of everybody, which may be none."""
        events = self.take()
        if not events and self.live:
            self._scheduler.step()
            events = self.take()
        return events

    def cancel(self, index: int | None = None) -> None:
        """End answer `index`, or all: no event of it will follow, its pages are free at once."""
        if index is None:
            self.cancelled = True
        self._scheduler.cancel(self, index)

    def extend(self, most: int | None) -> bool:
        """Go on to `most` tokens in all, also after a rest or an end by length; False: none follow.

        Only for requests of one answer. It goes on as after a preemption, with the same bits.
        """
        (answer,) = self.answers
        with self._scheduler._alone():
            if self.cancelled:
                return False
            self.resting = False
            if (added := self._possible(most) - self.longest) > 0:
                self.longest += added
                answer.left += added
                if answer not in self.live:
                    answer.read = 0
                    self.live.append(answer)
                    self._scheduler.planner.answers.append(answer)
            return bool(self.live or self.events or self.failure)

    def _possible(self, tokens: int | None) -> int:
        """How long an answer can be of which `tokens` are wanted; None: as long as there is room."""
        scheduler = self._scheduler
        room = min(scheduler.context, scheduler.runner.pages * PAGE) - len(self.prompt)
        longest = room if tokens is None else tokens
        if self.sampling.overflow == "refuse" or scheduler.context < 2 * PAGE:  # too small to shift
            longest = min(longest, room)
        return longest

    def __iter__(self) -> Iterator[Token]:
        while not self.done:
            yield from self.next_events()
