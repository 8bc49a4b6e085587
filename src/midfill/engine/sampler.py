"""Logits to one token: penalties, bias, grammar, temperature, truncation, a seeded draw.

Token ids only. The random number of a token depends on the seed, the answer and the token's
position, on nothing else: neither batch nor preemption nor drafts change what is drawn.
Shapes: W vocabulary.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from midfill.config.engine import Sampling

SHORTLIST = 1024  # most nuclei are smaller than this: sorting the whole vocabulary can be avoided


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token, its log-probability under the unmodified model, and the best rivals'."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Chooses the tokens of one answer; the same seed and logits give the same answer."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], choice: int = 0) -> None:
        """`choice` is the answer's number among the n that share a seed."""
        self.sampling = sampling
        self.seen = set(prompt) if sampling.repetition_penalty != 1 else set()
        self.counts: Counter[int] = Counter()
        self.position = len(prompt)  # of the token to be chosen next
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self._key = f"{seed}/{choice}/"

    def __call__(
        self, logits: Float[Tensor, " W"], mask: Bool[Tensor, " W"] | None = None
    ) -> Choice:
        """The next token after `logits` (float32), one of `mask` where there is one."""
        adjusted = self._adjust(logits)
        if mask is not None:
            adjusted = adjusted.masked_fill(~mask, -torch.inf)
        s = self.sampling
        if s.temperature == 0:
            token = most_likely(adjusted)
        else:  # from the maximum down: a temperature near zero overflows nothing
            token = self._draw((adjusted.double() - adjusted.max()) / s.temperature)
        return self.take(token, logits)

    def take(self, token: int, logits: Float[Tensor, " W"]) -> Choice:
        """`token` as the next one, whatever `logits` say: a grammar left no choice."""
        self.counts[token] += 1
        self.seen.add(token)
        self.position += 1
        return with_logprob(token, logits, self.sampling.logprobs)

    def _uniform(self) -> float:
        """The random number of this position, from 0 up to but not 1."""
        key = f"{self._key}{self.position}".encode()
        number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
        return (number >> 11) * 2.0**-53

    def _adjust(self, logits: Tensor) -> Tensor:
        """Logits after penalties and bias; the tensor given stays as it is."""
        s = self.sampling
        if s.repetition_penalty != 1 and self.seen:
            logits = logits.clone()
            ids = torch.tensor(sorted(self.seen), device=logits.device)
            old = logits[ids]
            logits[ids] = torch.where(
                old > 0, old / s.repetition_penalty, old * s.repetition_penalty
            )
        if (s.presence_penalty or s.frequency_penalty) and self.counts:
            logits = logits.clone()
            ids = torch.tensor(list(self.counts), device=logits.device)
            times = torch.tensor(list(self.counts.values()), device=logits.device)
            logits[ids] -= s.presence_penalty + s.frequency_penalty * times
        if s.logit_bias:
            logits = logits.clone()
            for token, bias in s.logit_bias.items():
                logits[token] += bias
        return logits

    def _draw(self, logits: Tensor) -> int:
        """A token drawn from the truncated distribution."""
        probs, ids = nucleus(logits, self.sampling)
        point = self._uniform() * probs.sum()
        at = torch.searchsorted(probs.cumsum(0), point, right=True)
        return int(ids[min(int(at), len(ids) - 1)])


def most_likely(logits: Float[Tensor, " W"]) -> int:
    """The id of the largest logit, the lowest of equal ones."""
    if logits.device.type == "cpu":  # numpy looks ten times as fast
        return int(logits.float().numpy().argmax())
    return int(logits.argmax())


def nucleus(
    logits: Float[Tensor, " W"], sampling: Sampling
) -> tuple[Float[Tensor, " kept"], Int[Tensor, " kept"]]:
    """Probabilities (float64, not renormalised) and ids that survive top-k, top-p and min-p.

    Each rule looks at the distribution that the rule before it left: top-p counts its mass among
    the top k. The most likely token always survives.
    """
    probs = logits.double().softmax(0)
    if not sampling.top_k and sampling.top_p >= 1 and not sampling.min_p:
        return probs, torch.arange(len(probs), device=probs.device)
    size = min(sampling.top_k or SHORTLIST, len(probs))
    kept, ids = probs.topk(size)
    enough = (
        sampling.top_k
        or (sampling.top_p < 1 and kept.sum() >= sampling.top_p)
        or kept[-1] < sampling.min_p * kept[0]
    )
    if not enough:
        kept, ids = probs.sort(descending=True)
    if sampling.top_p < 1:
        before = kept.cumsum(0) - kept
        inside = before < sampling.top_p * (kept.sum() if sampling.top_k else 1.0)
        inside[0] = True
        kept, ids = kept[inside], ids[inside]
    likely = kept >= sampling.min_p * kept[0]
    return kept[likely], ids[likely]


def with_logprob(token: int, logits: Float[Tensor, " W"], top: int | None) -> Choice:
    """`token` with its log-probability and the `top` most likely ones, if logprobs are wanted."""
    if top is None:
        return Choice(token)
    logprobs = logits.log_softmax(0)
    values, ids = logprobs.topk(min(top, len(logprobs)))
    rivals = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return Choice(token, float(logprobs[token]), rivals)
