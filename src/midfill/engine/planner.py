"""Who is read and written in the next step, and whose pages make room for it.

Order: higher priority first, then the clients in turn, then arrival; who is passed over for AGE
steps gains a priority. Out of pages: the prefix tree gives up what was not used for longest, then
the last in that order gives its pages back and is read again later.
"""

from dataclasses import dataclass

from midfill.engine import pace
from midfill.engine.lookup import MOST_DRAFT
from midfill.engine.request import Answer, Counters, Request
from midfill.engine.runner import GRID, PAGE, Span
from midfill.engine.tables import Tables, pages_for

AGE = 200  # steps without progress that count as one priority
DRAFTERS = 4  # more answers than this fill a step without drafts
SCORED = 256  # tokens of a prompt whose logits are held at once
HEAD = 1  # pages at the beginning that a shift of the context keeps


@dataclass(slots=True)
class Plan:
    """What one answer has read in a step: its next `count` tokens and a guess behind them."""

    answer: Answer
    count: int
    guess: list[int]
    looked_up: bool = False  # the guess is a draft, not what a grammar forces

    @property
    def wanted(self) -> int:
        """How many logits: of the last token, of those guessed; of all where a prompt is scored."""
        if self.answer.request.scoring:
            return self.count
        return 1 + len(self.guess) if self.count == self.answer.unread else 0

    def span(self) -> Span:
        """The same for the runner."""
        a = self.answer
        tokens = a.tokens[a.read : a.read + self.count] + self.guess
        pages = a.table.pages[: pages_for(a.read + len(tokens))]
        return Span(tokens=tokens, start=a.read, pages=pages, expanded=a.grid, wanted=self.wanted)


class Planner:
    """The answers that are not finished, and their places."""

    def __init__(
        self, tables: Tables, counters: Counters, *, context: int, max_running: int
    ) -> None:
        self.tables = tables
        self.counters = counters
        self.context = context
        self.max_running = max_running
        self.pace = pace.Pace()
        self.answers: list[Answer] = []
        self._latest = 0  # of the turns that were given

    def arrive(self, request: Request) -> None:
        """Queue a request: the turns of its client follow each other, those of others interleave."""
        pending = [a.request for a in self.answers if not a.request.begun]
        now = min((r.turn for r in pending), default=self._latest)
        own = max((r.turn + 1 for r in pending if r.client == request.client), default=now)
        request.turn = max(now, own)
        self._latest = max(self._latest, request.turn)
        self.answers.append(request.answers[0])

    def leave(self, answer: Answer) -> None:
        """Give back the pages and the place of an answer that has ended."""
        answer.running = False
        self.tables.release(answer.table)
        if answer in self.answers:
            self.answers.remove(answer)

    def end(self, request: Request, failure: Exception | None = None) -> None:
        """End all answers of a request; its reader gets the failure."""
        for answer in request.answers:
            self.leave(answer)
        request.live.clear()
        request.failure = failure

    def preempt(self, answer: Answer) -> None:
        """Take the pages of an answer; its tokens stay, to be read again."""
        answer.running = False
        answer.read = 0
        self.tables.release(answer.table)
        self.counters.preempted += 1

    def level(self, answer: Answer) -> int:
        """Its priority, with what waiting has added."""
        return answer.request.priority + answer.starved // AGE

    def rank(self, answer: Answer) -> tuple[int, int, int, int]:
        """Its place in the order: smaller goes first."""
        r = answer.request
        return -self.level(answer), r.turn, r.arrival, answer.index

    @property
    def active(self) -> list[Answer]:
        """Those that have a place and a reader who keeps up, in order."""
        return sorted(
            (a for a in self.answers if a.running and not a.request.paused), key=self.rank
        )

    @property
    def has_place(self) -> bool:
        """Whether one more answer may run."""
        return len(self.active) < self.max_running

    # ---------------------------------------------------------------------------------- places

    def admit(self) -> None:
        """Give places to those who wait, as far as places and pages go."""
        waiting = [a for a in self.answers if not a.running and not a.request.paused]
        highest = max((a.request.priority for a in waiting), default=0)
        active = self.active
        for answer in sorted(waiting, key=self.rank):
            lowest = self.level(active[-1]) if active else highest
            if len(active) >= self.max_running:
                if lowest >= highest:
                    return
                if lowest >= answer.request.priority:
                    continue
                self.preempt(active.pop())
            elif lowest >= answer.request.priority and not self._fits(answer, active):
                return  # nobody overtakes it: smaller ones would keep the pages from it for ever
            answer.running = True
            active.append(answer)
            active.sort(key=self.rank)

    def _fits(self, answer: Answer, active: list[Answer]) -> bool:
        """Whether there will be pages for it beside what the others have still to read."""
        if not active:
            return True
        promised = sum(pages_for(len(b.tokens) + 1) - len(b.table.pages) for b in active)
        idle = sum(len(b.table.pages) for b in self.answers if b.request.paused)
        return self.tables.needed(answer.tokens, answer.grid) + promised <= self.tables.room + idle

    def _reserve(self, answer: Answer, tokens: int) -> bool:
        """Get the pages for `tokens`, from those behind it in the order if need be."""
        while not self.tables.grow(answer.table, tokens):
            others = [b for b in self.answers if b is not answer and b.table.pages]
            victim = max(others, key=lambda b: (b.request.paused, self.rank(b)), default=None)
            if victim is None:
                return False
            if not victim.request.paused and self.rank(victim) < self.rank(answer):
                return False
            self.preempt(victim)
        return True

    # ------------------------------------------------------------------------------------ steps

    def plan(self) -> list[Plan]:
        """Who has what read in the next step."""
        active = self.active[: self.max_running]  # more, when idle readers have come back
        writing = [a for a in active if a.decoding]
        plans = [self._next(a, look_up=len(writing) <= DRAFTERS) for a in writing]
        chosen = [plan for plan in plans if plan is not None]
        budget = self.pace.slice(decoding=bool(chosen))
        level: int | None = None
        for answer in active:
            if budget <= 0 or not answer.running or answer.decoding:
                continue
            if level is not None and self.level(answer) < level:
                break  # nobody waits longer so that a lesser prompt can use the rest of the slice
            plan = self._slice(answer, budget, chosen)
            if plan is not None:
                chosen.append(plan)
                budget -= plan.count
                level = self.level(answer)
        chosen = [plan for plan in chosen if plan.answer.running]  # some were preempted since
        busy = {id(plan.answer) for plan in chosen}
        for answer in self.answers:
            if id(answer) not in busy and not answer.request.paused:
                answer.starved += 1
        return chosen

    def _next(self, answer: Answer, *, look_up: bool) -> Plan | None:
        """One more token of an answer, with a guess behind it if there is one."""
        if answer.running and len(answer.tokens) > self.context:
            self.shift(answer)
        if not answer.running or not answer.decoding:
            return None
        most = min(MOST_DRAFT, answer.left - 1, self.context - len(answer.tokens))
        try:
            guess, looked_up = answer.guess(most, look_up=look_up)
        except Exception as failure:  # the border of a request: its reader gets the error
            self.end(answer.request, failure)
            return None
        if not self._reserve(answer, len(answer.tokens) + len(guess)):
            return None
        return Plan(answer, 1, guess, looked_up)

    def _slice(self, answer: Answer, budget: int, others: list[Plan]) -> Plan | None:
        """The next part of a prompt, or of a preempted answer; what others have read is taken."""
        if len(answer.tokens) > self.context:
            self.shift(answer)
        request = answer.request
        if not request.scoring:
            most = (len(answer.tokens) - 1) // PAGE  # the last token is always read, for its logits
            found = self.tables.extend(answer.table, answer.tokens, most, answer.grid) * PAGE
            answer.read += found
            self.counters.reused += found
            if not request.begun:
                request.cached = min(request.cached + found, len(request.prompt) - 1)
            if any(self._will_read_for(plan, answer) for plan in others):
                return None
        count = min(budget, answer.unread, SCORED if request.scoring else budget)
        if count < answer.unread:
            count = pace.cut_at_grid(answer.read, count)
        if not self._reserve(answer, answer.read + count):
            return None
        return Plan(answer, count, [])

    def _will_read_for(self, plan: Plan, answer: Answer) -> bool:
        """Whether the plan's owner is about to read the page that `answer` needs next."""
        other, start, end = plan.answer, answer.read, answer.read + PAGE
        return (
            not other.decoding
            and start % PAGE == 0
            and start <= other.read < end <= min(len(other.tokens), len(answer.tokens) - 1)
            and not (other.table.shifted or answer.table.shifted)
            and self.tables.same_form(other.grid, answer.grid, end)
            and other.tokens[start:end] == answer.tokens[start:end]
            and other.tokens[:start] == answer.tokens[:start]
        )

    def shift(self, answer: Answer) -> None:
        """Forget the older half of what is behind the head of a full context."""
        kept = HEAD * PAGE
        dropped = max((len(answer.tokens) - 1 - kept) // PAGE // 2, 1)
        if answer.unread > 1 or not self.tables.shift(answer.table, HEAD, dropped):
            self.preempt(answer)  # to be read again, without what is forgotten
            answer.running = True
        else:
            answer.read -= dropped * PAGE
        del answer.tokens[kept : kept + dropped * PAGE]
        answer.grid = kept // GRID * GRID
        self.counters.shifted += 1
