"""The one internal request: every dialect becomes `Work`, and every answer is made from it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from midfill.config.engine import Sampling
from midfill.engine.results import FinishReason, Piece, Prompt, TokenLogprob, Usage

if TYPE_CHECKING:
    from midfill.engine.text import Coder


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Prompts to answer, how, and how many of the answers are shown."""

    model: str
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    keep: int  # answers shown per prompt; sampling.n of them are made

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about the prompts, each thing once."""
        return tuple(dict.fromkeys(text for prompt in self.prompts for text in prompt.warnings))

    @property
    def urgent(self) -> bool:
        """Whether somebody waits at a cursor."""
        return any(prompt.priority > 0 for prompt in self.prompts)

    @property
    def prompt_tokens(self) -> int:
        """Tokens read, each prompt once."""
        return sum(len(prompt.ids) for prompt in self.prompts)


def start(coder: "Coder", work: Work) -> Iterator[Piece]:
    """Return the pieces of all answers; a prompt the engine refuses raises here.

    Answer k of prompt p has the index p * n + k. The engine decides how many are made at once.
    """
    return coder.generate(work.prompts, work.sampling)


@dataclass(slots=True)
class Choice:
    """One answer as it grows."""

    text: str = ""
    pieces: list[Piece] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def tokens(self) -> list[TokenLogprob]:
        """All tokens of the answer, an echoed prompt's included."""
        return [token for piece in self.pieces for token in piece.tokens]

    @property
    def mean_logprob(self) -> float:
        """How likely the model found its own answer, per token."""
        known = [token.logprob for token in self.tokens if token.logprob is not None]
        return sum(known) / len(known) if known else 0.0


class Tally:
    """All choices of one `Work`, and what they cost."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.choices: defaultdict[int, Choice] = defaultdict(Choice)
        self._tokens = 0
        self._cached: dict[int, int] = {}  # by prompt

    def add(self, piece: Piece) -> Choice:
        """Add `piece` to its choice and return that choice."""
        choice = self.choices[piece.choice]
        choice.text += piece.text
        choice.pieces.append(piece)
        choice.finish_reason = piece.finish_reason or choice.finish_reason
        self._tokens += len(piece.tokens)
        if piece.finish_reason:
            self._cached[piece.choice // self.work.sampling.n] = piece.cached_tokens
        return choice

    @property
    def usage(self) -> Usage:
        """Tokens read and written; an echoed prompt was read, not written."""
        echoed = 0
        if self.work.sampling.echo:
            n = self.work.sampling.n
            echoed = sum(len(self.work.prompts[index // n].ids) for index in self.choices)
        cached = sum(self._cached.values())
        return Usage(self.work.prompt_tokens, max(self._tokens - echoed, 0), cached)

    def shown(self) -> list[Choice]:
        """Return the choices to show in order; of best_of, the likeliest per token."""
        n, keep = self.work.sampling.n, self.work.keep
        shown: list[Choice] = []
        for number in range(len(self.work.prompts)):
            group = [self.choices[number * n + choice] for choice in range(n)]
            if keep < n:
                group.sort(key=lambda choice: choice.mean_logprob, reverse=True)
            shown += group[:keep]
        return shown
