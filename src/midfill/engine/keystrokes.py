"""What makes a fill keep up with typing: less to read, and answers that are taken over.

A prompt to fill a hole ends with what stands behind the cursor, so every key stroke makes the
network read all of that again. Two remedies: read less of it (`cut_suffix`), or read nothing at
all, where the user types what the last answer proposed (`Keystrokes`). Source: ours.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from midfill.config.engine import Sampling, SuffixTokens
from midfill.engine.pace import Pace
from midfill.engine.request import Request, Token
from midfill.engine.results import FinishReason, Prompt
from midfill.engine.writer import Writer
from midfill.errors import RequestError
from midfill.tokenizer.tokenizer import Tokenizer

SUFFIX_S = 0.4  # "auto" reads as much behind the cursor as takes this long
LEAST_SUFFIX = 16  # tokens, however slow the machine
UNMEASURED = 512  # tokens, while nobody knows how fast it is
WIDE = 16  # characters of a token; few texts have so many per token
KEPT = 16  # documents whose last answer can be taken over

# ------------------------------------------------------------------------------------- the suffix


def suffix_limit(wanted: SuffixTokens, pace: Pace) -> int | None:
    """How many tokens behind the cursor may be read; None: all."""
    if wanted != "auto":
        return wanted
    measured = pace.tokens_in(SUFFIX_S)
    return UNMEASURED if measured is None else max(measured, LEAST_SUFFIX)


def cut_suffix(tokenizer: Tokenizer, suffix: str, most: int | None) -> str:
    """The beginning of `suffix` that is at most `most` tokens long, whole lines of it.

    Where not even the first line that says something fits, the line is cut.
    """

    def fits(parts: list[str] | str) -> int:
        """How many of `parts`, from the first on, fit."""
        assert most is not None
        numbers = range(1, len(parts) + 1)
        return bisect_right(numbers, most, key=lambda n: len(tokenizer.encode(_first(parts, n))))

    if most is None or len(tokenizer.encode(suffix)) <= most:
        return suffix
    near = suffix[: most * WIDE]
    lines = near.splitlines(keepends=True)
    if len(near) < len(suffix):
        lines = lines[:-1]  # nobody knows whether it is whole
    kept = _first(lines, fits(lines))
    return kept if kept.strip() else _first(near, fits(near))


def _first(parts: list[str] | str, number: int) -> str:
    return "".join(parts[:number])


# ----------------------------------------------------------------------------------- taking over


class Keystrokes:
    """The last fill of each document. A newer one ends it, or takes over what it has written.

    Taken over means: the cursor has moved over the beginning of the old answer, and nothing else
    has changed. The new answer is then the old one without what was typed, to the character. Its
    first piece needs no step of the network, and the prompt is not read again.
    """

    def __init__(self, tokenizer: Tokenizer, *, kept: int = KEPT) -> None:
        self._tokenizer = tokenizer
        self._kept = kept
        self._runs: dict[Hashable, Run] = {}  # the latest last
        self._lock = threading.Lock()

    def turn(
        self,
        document: Hashable,
        prompt: Prompt,
        sampling: Sampling,
        submit: Callable[[Prompt], Request],
    ) -> "Turn":
        """The events of a fill in `document`, whose last one ends now."""
        with self._lock:
            old = self._runs.pop(document, None)
            turn = old.take_over(prompt, sampling) if old is not None else None
            if turn is None:
                if old is not None:
                    old.end()
                turn = Run(self._tokenizer, prompt, sampling, submit(prompt)).first()
            self._runs[document] = turn.run
            while len(self._runs) > self._kept:
                self._runs.pop(next(iter(self._runs))).forget()
        return turn


class Run:
    """One generation, and the fills that it has served, one after the other."""

    def __init__(
        self, tokenizer: Tokenizer, prompt: Prompt, sampling: Sampling, request: Request
    ) -> None:
        self._tokenizer = tokenizer
        self.prompt = prompt  # of the first fill; the typed texts count from its cursor
        self.sampling = sampling
        self.request = request
        self.events: list[Token] = []  # all that were ever told
        self.lock = threading.RLock()  # whoever pulls events also notes them
        self.turn: Turn | None = None  # whose events they are now
        self.kept = True  # somebody may take it over
        self._failed = False

    def first(self) -> "Turn":
        """The fill that began it."""
        self.turn = Turn(self, self.sampling.max_tokens)
        return self.turn

    def take_over(self, prompt: Prompt, sampling: Sampling) -> "Turn | None":
        """A fill that goes on with this generation; None where it would be another one."""
        before = self.prompt.text
        same = replace(sampling, max_tokens=self.sampling.max_tokens) == self.sampling
        if prompt.suffix != self.prompt.suffix or not prompt.text.startswith(before) or not same:
            return None
        typed = prompt.text[len(before) :]
        if not typed and sampling.temperature > 0 and sampling.seed is None:
            return None  # asked again at the same place: drawn again
        self.turn = None  # its reader stops before its next step
        with self.lock:
            self._note()
            over = self._failed or self.request.cancelled or not self.request.begun
            if over or not self._begins_with(typed):
                return None
            passed = self._passed(typed)
            most = None if sampling.max_tokens is None else passed + sampling.max_tokens
            turn = self.turn = Turn(self, most, typed=typed, prompt=prompt)
            there = sum(event.choice is not None for event in self.events)
            turn.adopted = (there if most is None else min(there, most)) - passed
        return turn

    def more(self, most: int | None) -> list[Token] | None:
        """New events of the generation, which may have `most` tokens in all; None: it is over."""
        try:
            if not self.request.extend(most):
                return None
            self.events += (new := self.request.next_events())
        except Exception:
            self._failed = True
            raise
        return new

    def rest(self) -> None:
        """Do nothing until it is taken over; its pages are the first to go where pages are short."""
        if self.kept and self.request.begun:
            self.request.resting = True
        else:
            self.request.cancel()

    def forget(self) -> None:
        """End it when its reader has what was asked for."""
        self.kept = False
        if self.turn is None or self.turn.done:
            self.request.cancel()

    def end(self) -> None:
        """End it now; its reader learns that it was superseded."""
        self.turn = None
        self._failed = True
        self.request.cancel()

    def _note(self) -> None:
        """Note what others' steps have given this generation, and its reader has not seen."""
        if self.request.failure is None:
            self.events += self.request.take()
        else:
            self._failed = True

    def _begins_with(self, typed: str) -> bool:
        writer, text = Writer(self._tokenizer, 0, self.sampling), ""
        for event in self.events:
            text += writer.push(unlimited(event)) or ""
            if writer.ended or len(text) >= len(typed):
                break
        return text.startswith(typed)

    def _passed(self, typed: str) -> int:
        writer = Writer(self._tokenizer, 0, self.sampling, typed=typed)
        for event in self.events:
            if writer.ended:
                break
            writer.push(unlimited(event))
        return writer.typed_tokens


class Turn:
    """One fill's share of a run: the events of all its answer, and where it ends for this fill."""

    def __init__(
        self, run: Run, most: int | None, *, typed: str = "", prompt: Prompt | None = None
    ) -> None:
        """`most` tokens of the run in all; `prompt`: what need not be read, None: the run is new."""
        self.run = run
        self.most = most
        self.typed = typed
        self.prompt = prompt
        self.adopted = 0  # tokens behind the cursor that were there already
        self.done = False
        self._at = 0  # events told
        self._count = 0  # tokens told

    @property
    def cached(self) -> int:
        """Tokens of the prompt that were not read for this fill."""
        return self.run.request.cached if self.prompt is None else len(self.prompt.ids)

    def next_events(self) -> list[Token]:
        """The events that are there, or those of one more step, which may be none."""
        if self.done:
            return []
        with self.run.lock:
            if self.run.turn is not self:
                return self._end("superseded")
            if self._count == self.most and self.prompt is not None:
                return self._end("length")
            new = self.run.events[self._at :] or self.run.more(self.most)
            if new is None:  # the context is full, or this fill has just been superseded
                return self._end("length" if self.run.turn is self else "superseded")
            self._at += len(new)
        return self._told(new)

    def cancel(self, index: int | None = None) -> None:
        """No event follows. What was written stays for who takes it over."""
        self.done = True
        if self.run.turn is self:
            self.run.rest()

    def _told(self, events: list[Token]) -> list[Token]:
        """`events` as far as this fill goes, with its own limit instead of the request's."""
        told = []
        for number, event in enumerate(map(unlimited, events)):
            ends_next = any(later.choice is None for later in events[number + 1 : number + 2])
            if event.choice is not None:
                self._count += 1
                if self._count == self.most and event.finish is None and not ends_next:
                    event = replace(event, finish="length")
            elif event.finish is None:
                continue
            told.append(event)
            if event.finish is not None:
                self.done = True
                break
        return told

    def _end(self, reason: FinishReason) -> list[Token]:
        self.done = True
        return [Token(0, finish=reason)]


def unlimited(event: Token) -> Token:
    """`event` as if the answer could be longer."""
    return replace(event, finish=None) if event.finish == "length" else event


def check_document(prompts: Sequence[Prompt], sampling: Sampling) -> None:
    """Raise RequestError for what a document cannot have: it has one hole, with one answer."""
    one = len(prompts) == sampling.n == 1 and not sampling.echo
    if one and prompts[0].suffix is not None:
        return
    raise RequestError(
        "a document was named for something else than one fill",
        why="a newer fill of a document takes over the one answer before it",
        fix="fill one hole with n=1 and without echo, or leave out document",
        param="document",
    )
