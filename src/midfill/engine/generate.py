"""Prompts to tokens, one step at a time. Token ids only: strings live in the text layer.

A generation holds several answers (prompts times n). Prompts are read one after the other in
chunks; then all answers advance together, one token per step, and leave when they are finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from midfill.config.engine import Sampling
from midfill.engine.results import FinishReason
from midfill.engine.sampler import Choice, Sampler, with_logprob
from midfill.model.cache import Cache, join
from midfill.model.transformer import Transformer

SCORED_ROWS = 64  # prompt tokens whose logits are held at once
PREFILL_CHUNK = 512  # tokens read per step: bounds memory and the wait of other requests


@dataclass(frozen=True, slots=True)
class Token:
    """One event of answer `index`: a token of it, or of its prompt, or only its end."""

    index: int
    choice: Choice | None = None
    of_prompt: bool = False
    finish: FinishReason | None = None


@dataclass(slots=True)
class _Answer:
    index: int
    sampler: Sampler
    left: int  # tokens it may still take
    last: int = 0  # the token to read next


class Generation:
    """The answers to some prompts, advanced by `step()` until `done`."""

    def __init__(
        self,
        network: Transformer,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        stop_ids: frozenset[int],
        context: int,
    ) -> None:
        """`sampling.max_tokens` must fit behind every prompt within `context`."""
        self.network = network
        self.prompts = [list(prompt) for prompt in prompts]
        self.sampling = sampling
        self.stop_ids = frozenset() if sampling.ignore_eos else stop_ids
        self.context = context
        self.answers: list[_Answer] = []  # rows of self.cache, in order
        self.cache: Cache | None = None
        self._reading = 0  # the prompt being read
        self._prompt_cache: Cache | None = None
        self._at = 0  # how far it has been read

    @property
    def done(self) -> bool:
        """Whether every answer has ended."""
        return not self.answers and self._reading == len(self.prompts)

    @torch.inference_mode()
    def cancel(self, index: int) -> None:
        """End answer `index`: no token of it will follow."""
        self._drop([index])

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """Read one chunk of a prompt, or give every answer its next token."""
        if self._reading < len(self.prompts):
            return self._read_chunk()
        assert self.cache is not None
        tokens = torch.tensor([[a.last] for a in self.answers], device=self.network.device)
        logits = self.network(tokens, self.cache)[:, 0]
        return self._choose(self.answers, logits)

    def _read_chunk(self) -> list[Token]:
        """Read the next chunk of the current prompt; behind its last, choose the first tokens."""
        prompt, network = self.prompts[self._reading], self.network
        if self._prompt_cache is None:
            room = min(len(prompt) + (self.sampling.max_tokens or 256), self.context)
            self._prompt_cache = network.new_cache(capacity=room)
        chunk = prompt[self._at : self._at + PREFILL_CHUNK]
        hidden = network.hidden(torch.tensor([chunk], device=network.device), self._prompt_cache)
        events = self._score_prompt(prompt, hidden) if self.sampling.echo else []
        self._at += len(chunk)
        if self._at < len(prompt):
            return events
        return events + self._begin(prompt, network.logits(hidden[0, -1]))

    def _score_prompt(self, prompt: list[int], hidden: torch.Tensor) -> list[Token]:
        """The tokens of the chunk just read, with the log-probability each had when it came."""
        first = self._reading * self.sampling.n
        events = [Token(first, Choice(prompt[0]), of_prompt=True)] if self._at == 0 else []
        following = prompt[self._at + 1 : self._at + 1 + hidden.shape[1]]
        if self.sampling.logprobs is None:
            return events + [Token(first, Choice(token), of_prompt=True) for token in following]
        scored = (row for rows in hidden[0].split(SCORED_ROWS) for row in self.network.logits(rows))
        for token, logits in zip(following, scored, strict=False):
            choice = with_logprob(token, logits.cpu(), self.sampling.logprobs)
            events.append(Token(first, choice, of_prompt=True))
        return events

    def _begin(self, prompt: list[int], logits: torch.Tensor) -> list[Token]:
        """Start the n answers of a prompt that has been read to its end."""
        assert self._prompt_cache is not None
        n, room = self.sampling.n, self.context - len(prompt)
        left = room if self.sampling.max_tokens is None else self.sampling.max_tokens
        new = [
            _Answer(self._reading * n + i, Sampler(self.sampling, prompt, i), left)
            for i in range(n)
        ]
        cache = self._prompt_cache
        if n > 1:
            cache.keep([0] * n)
        self.cache = cache if self.cache is None or not self.answers else join([self.cache, cache])
        self.answers += new
        self._reading, self._at, self._prompt_cache = self._reading + 1, 0, None
        if left == 0:
            self._drop([a.index for a in new])
            return [Token(a.index, finish="length") for a in new]
        return self._choose(new, logits.expand(n, -1))

    def _choose(self, answers: Sequence[_Answer], logits: torch.Tensor) -> list[Token]:
        """One token for each of `answers` from its row of logits; the finished ones leave."""
        events = []
        for answer, row in zip(answers, logits.cpu(), strict=True):
            choice = answer.sampler(row)
            answer.last, answer.left = choice.token, answer.left - 1
            finish: FinishReason | None = None
            if choice.token in self.stop_ids:
                finish = "stop"
            elif answer.left == 0:
                finish = "length"
            events.append(Token(answer.index, choice, finish=finish))
        self._drop([event.index for event in events if event.finish])
        return events

    def _drop(self, indices: Sequence[int]) -> None:
        """Take finished answers out of the batch."""
        if not indices:
            return
        rows = [i for i, a in enumerate(self.answers) if a.index not in indices]
        self.answers = [self.answers[row] for row in rows]
        if self.answers and self.cache is not None:
            self.cache.keep(rows)
        else:
            self.cache = None
