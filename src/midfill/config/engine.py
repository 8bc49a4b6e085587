"""How the engine samples, and how much it may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from midfill.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when generation ends. Bad values raise RequestError.

    Order of application: penalties and logit bias on the logits, temperature, then top-k, top-p
    and min-p on the distribution. Temperature 0 is greedy.
    """

    max_tokens: int | None = None  # None: up to the context limit
    temperature: float = 0.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # > 1 discourages what prompt or answer already holds
    presence_penalty: float = 0.0  # subtracted once for a token the answer holds
    frequency_penalty: float = 0.0  # subtracted for each time the answer holds it
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # token id -> added to its logit
    stop: tuple[str, ...] = ()  # texts that end the answer and are not part of it
    ignore_eos: bool = False
    seed: int | None = None  # None: a fresh one each time
    logprobs: int | None = None  # how many alternatives to report per token; None: no logprobs
    echo: bool = False  # the answer begins with the prompt
    n: int = 1  # independent answers

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured, naming the field."""
        limits: tuple[tuple[str, float | None, float, float], ...] = (
            ("max_tokens", self.max_tokens, 0, float("inf")),
            ("temperature", self.temperature, 0, 100),
            ("top_k", self.top_k, 0, float("inf")),
            ("top_p", self.top_p, 0, 1),
            ("min_p", self.min_p, 0, 1),
            ("repetition_penalty", self.repetition_penalty, 1e-6, 100),
            ("presence_penalty", self.presence_penalty, -100, 100),
            ("frequency_penalty", self.frequency_penalty, -100, 100),
            ("logprobs", self.logprobs, 0, 100),
            ("n", self.n, 1, 128),
        )
        for name, value, low, high in limits:
            if value is not None and not low <= value <= high:  # NaN fails both comparisons
                raise RequestError(
                    f"{name} is {value}",
                    why=f"it must be at least {low:g}"
                    + (f" and at most {high:g}" if high < float("inf") else ""),
                    fix=f"give a {name} in that range, or leave it out",
                    param=name,
                )
        if any(not text for text in self.stop):
            raise RequestError(
                "a stop string is empty",
                why="it would end every answer before its first character",
                fix="remove the empty string from stop",
                param="stop",
            )
