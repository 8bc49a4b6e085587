"""What generation gives back: pieces while it runs, one completion when it is done."""

from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "superseded"]  # the last: a newer fill came


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its log-probability (natural, before temperature) and its best rivals.

    `logprob` is None for the first token of an echoed prompt: nothing precedes it.
    `text` may hold U+FFFD where the token is a fragment of a character; `bytes` is always exact.
    """

    id: int
    text: str
    bytes: bytes
    logprob: float | None = None
    top: "tuple[TokenLogprob, ...]" = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = field(default=0, compare=False)  # of the prompt, found read already
    adopted_tokens: int = field(default=0, compare=False)  # of the answer, left by the fill before

    @property
    def total_tokens(self) -> int:
        """Tokens read plus tokens written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids ready for the network, the text they stand for, and what the user should know."""

    ids: list[int]
    text: str
    warnings: tuple[str, ...] = ()
    priority: int = 0  # higher goes first: somebody waits at a cursor
    suffix: str | None = None  # of a fill: what stands behind the cursor, all of it
    suffix_kept: int | None = None  # so many tokens of it are in `ids`; None: all of them


class Piece(str):
    """Text that may be shown now: whole characters only, never part of a stop string.

    A `str`, so `"".join(pieces)` is the answer; the attributes say which of the n answers it
    belongs to, which tokens ended in it, and, on the last piece of an answer, why it ended.
    """

    choice: int  # which of the n answers
    tokens: tuple[TokenLogprob, ...]  # tokens consumed since the piece before
    finish_reason: FinishReason | None  # set on the last piece of an answer, which may be empty
    stop: str | None  # the stop string that ended the answer, if one did
    cached_tokens: int  # on the last piece: tokens of the prompt that were found read already
    adopted_tokens: int  # on the last piece: tokens that the fill before had written

    def __new__(
        cls,
        text: str,
        *,
        choice: int = 0,
        tokens: tuple[TokenLogprob, ...] = (),
        finish_reason: FinishReason | None = None,
        stop: str | None = None,
        cached_tokens: int = 0,
        adopted_tokens: int = 0,
    ) -> "Piece":
        """Make a piece of `text`."""
        piece = super().__new__(cls, text)
        piece.choice = choice
        piece.tokens = tokens
        piece.finish_reason = finish_reason
        piece.stop = stop
        piece.cached_tokens = cached_tokens
        piece.adopted_tokens = adopted_tokens
        return piece

    @property
    def text(self) -> str:
        """The piece as a plain string."""
        return str.__str__(self)


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished answer. `tokens` are the generated ids, a closing stop id included.

    Where the answer was taken over from the fill before (`usage.adopted_tokens`), the cursor may
    stand inside a token: `tokens` and `logprobs` then begin with that whole token, as it was
    written behind the older cursor, and `text` with what is left of it.
    """

    text: str
    tokens: list[int]
    finish_reason: FinishReason
    usage: Usage
    logprobs: list[TokenLogprob] | None = None
    warnings: tuple[str, ...] = field(default=())
    stop: str | None = None
    suffix_kept: int | None = None  # tokens behind the cursor that were read; None: all of them

    def __str__(self) -> str:
        return self.text
