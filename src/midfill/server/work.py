"""The one internal request: every dialect becomes `Work`, and every answer is made from it."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from midfill.config.engine import Sampling
from midfill.engine.results import FinishReason, Piece, Prompt, TokenLogprob, Usage
from midfill.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from midfill.engine.text import Coder

Steps = Iterator[tuple[int, Piece]]  # (index of the choice, piece)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Prompts to answer, how, and how many of the answers are shown."""

    model: str
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    keep: int  # answers shown per prompt; sampling.n of them are made
    leads: tuple[str, ...] = ()  # text shown before each prompt's answers, not made by the model

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about the prompts, each thing once."""
        return tuple(dict.fromkeys(text for prompt in self.prompts for text in prompt.warnings))

    @property
    def prompt_tokens(self) -> int:
        """Tokens read, each prompt once."""
        return sum(len(prompt.ids) for prompt in self.prompts)


def start(coder: "Coder", work: Work) -> Steps:
    """Return the steps of `work`, prompts in turn; a prompt the engine refuses raises here."""
    runs = [coder.generate(prompt, work.sampling) for prompt in work.prompts]
    return _in_turn(runs, work)


def _in_turn(runs: "Sequence[Iterator[Piece]]", work: Work) -> Steps:
    n = work.sampling.n
    for number, run in enumerate(runs):
        lead = work.leads[number] if work.leads else ""
        for choice in range(n if lead else 0):
            yield number * n + choice, Piece(lead, index=choice)
        with closing(run):  # type: ignore[type-var]
            for piece in run:
                yield number * n + piece.index, piece


@dataclass(slots=True)
class Choice:
    """One answer as it grows."""

    text: str = ""
    pieces: list[Piece] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    stop: str | None = None

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

    def add(self, index: int, piece: Piece) -> Choice:
        """Add `piece` to choice `index` and return that choice."""
        choice = self.choices[index]
        choice.text += piece.text
        choice.pieces.append(piece)
        choice.finish_reason = piece.finish_reason or choice.finish_reason
        choice.stop = piece.stop or choice.stop
        self._tokens += len(piece.tokens)
        return choice

    @property
    def usage(self) -> Usage:
        """Tokens read and written; an echoed prompt was read, not written."""
        echoed = 0
        if self.work.sampling.echo:
            n = self.work.sampling.n
            echoed = sum(len(self.work.prompts[index // n].ids) for index in self.choices)
        return Usage(self.work.prompt_tokens, max(self._tokens - echoed, 0))

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


def check_ids(prompts: "Sequence[str | Sequence[int]]", vocab: int) -> None:
    """Refuse token ids the model does not have."""
    if any(not isinstance(ids, str) and max(ids) >= vocab for ids in prompts):
        raise RequestError(
            "the prompt holds a token id the model does not have",
            why=f"its ids go from 0 to {vocab - 1}",
            fix="encode the prompt with this model's own tokenizer",
            param="prompt",
        )
