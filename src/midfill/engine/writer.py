"""Events of a request to the pieces of its answers: decoding, stop strings, what is shown when."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from midfill.config.engine import Sampling
from midfill.engine.request import Token
from midfill.engine.results import Piece, Prompt, TokenLogprob
from midfill.engine.sampler import Choice
from midfill.engine.stops import StopScanner
from midfill.tokenizer.tokenizer import Tokenizer


class Source(Protocol):
    """Where events come from: a request, or what is left of an older one (engine/keystrokes.py)."""

    @property
    def typed(self) -> str:
        """How the text begins that the user has typed meanwhile: it is not shown."""
        ...

    @property
    def cached(self) -> int:
        """Tokens of the prompt that were found read already."""
        ...

    @property
    def adopted(self) -> int:
        """Tokens of the answer that were there before it was asked for."""
        ...

    @property
    def done(self) -> bool:
        """Whether no event will follow."""
        ...

    def next_events(self) -> list[Token]:
        """The events that are there, or those of one more step, which may be none."""
        ...

    def cancel(self, index: int | None = None) -> None:
        """End answer `index`, or all."""
        ...


class Reader:
    """Turns the events of one request into the pieces of its answers."""

    def __init__(
        self, tokenizer: Tokenizer, source: Source, prompt: Prompt, sampling: Sampling
    ) -> None:
        self.tokenizer, self.source = tokenizer, source
        self.prompt, self.sampling = prompt, sampling
        self.read: list[TokenLogprob] = []  # the prompt, to be echoed
        self.writers: dict[int, Writer] = {}

    def pieces(self) -> Iterator[Piece]:
        """What the events show that are there, or those of one more step.

        One piece for each answer, and one for an echoed prompt: who hands out one piece at a time
        falls behind by no more than that, however many tokens a step gives.
        """
        shown: dict[int, list[Piece]] = {}
        for event in self.source.next_events():
            if event.of_prompt:
                assert event.choice is not None
                self.read.append(token_logprob(self.tokenizer, event.choice))
                continue
            writer = self.writers.get(event.index)
            if writer is None:
                writer = self.writers[event.index] = Writer(
                    self.tokenizer, event.index, self.sampling, typed=self.source.typed
                )
                if self.sampling.echo:
                    yield Piece(self.prompt.text, choice=event.index, tokens=tuple(self.read))
            piece = None if writer.ended else writer.push(event)
            if piece is not None:
                shown.setdefault(event.index, []).append(piece)
                if piece.finish_reason and event.finish is None:
                    self.source.cancel(event.index)
        for pieces in shown.values():
            yield self._joined(pieces)

    def _joined(self, pieces: Sequence[Piece]) -> Piece:
        """Pieces of one answer, in order, as one; the last tells what was there before."""
        last = pieces[-1]
        return Piece(
            "".join(pieces),
            choice=last.choice,
            tokens=tuple(token for piece in pieces for token in piece.tokens),
            finish_reason=last.finish_reason,
            stop=last.stop,
            cached_tokens=self.source.cached if last.finish_reason else 0,
            adopted_tokens=self.source.adopted if last.finish_reason else 0,
        )


class Writer:
    """Turns the tokens of one answer into pieces, from behind `typed`, with which it begins."""

    def __init__(
        self, tokenizer: Tokenizer, index: int, sampling: Sampling, *, typed: str = ""
    ) -> None:
        self.tokenizer, self.index = tokenizer, index
        self.decoder = tokenizer.stream()
        self.stops = StopScanner(sampling.stop)
        self.tokens: list[TokenLogprob] = []
        self.ended = False  # what the engine made beyond the end is not shown
        self.typed_tokens = 0  # tokens that lie before the cursor with all their text
        self._typed = len(typed)
        self._hidden = len(typed)  # so many characters are still not to be shown
        self._decoded = 0

    def push(self, event: Token) -> Piece | None:
        """The piece that this token completes, if it completes one."""
        text = ""
        if event.choice is not None:
            if event.finish != "stop":  # the id that ends an answer is not part of its text
                text = self.decoder.push(event.choice.token)
            if self._decoded < self._typed and self._decoded + len(text) <= self._typed:
                self.typed_tokens += 1
            else:
                self.tokens.append(token_logprob(self.tokenizer, event.choice))
            self._decoded += len(text)
        if event.finish:
            text += self.decoder.finish()
        shown = self.stops.push(text)
        finish = "stop" if self.stops.found is not None else event.finish
        if finish:
            self.ended = True
            shown += self.stops.finish()
        hidden = min(len(shown), self._hidden)
        self._hidden -= hidden
        shown = shown[hidden:]
        if not shown and not finish:
            return None
        tokens, self.tokens = tuple(self.tokens), []
        return Piece(
            shown, choice=self.index, tokens=tokens, finish_reason=finish, stop=self.stops.found
        )


def token_logprob(tokenizer: Tokenizer, choice: Choice) -> TokenLogprob:
    """A chosen token with its text, bytes and rivals."""

    def spelled(token: int, logprob: float | None) -> TokenLogprob:
        return TokenLogprob(
            token, tokenizer.token_text(token), tokenizer.token_bytes(token), logprob
        )

    rivals = tuple(spelled(token, value) for token, value in choice.top)
    return replace(spelled(choice.token, choice.logprob), top=rivals)
