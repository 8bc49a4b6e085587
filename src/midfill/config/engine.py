"""How the engine samples, and how much it may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from midfill.config.constraint import Constraint
from midfill.config.fields import INF, is_number, wanted
from midfill.errors import RequestError

SuffixTokens = int | Literal["auto"] | None  # of the text behind the cursor; None: all of them
LIMITS = {  # smallest and largest value of each number in Sampling
    "max_tokens": (0, INF),
    "temperature": (0, 100),
    "top_k": (0, INF),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (1e-6, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "seed": (-INF, INF),
    "logprobs": (0, 100),
    "n": (1, 128),
}
WHOLE = ("max_tokens", "top_k", "seed", "logprobs", "n", "suffix_tokens")
OPTIONAL = {"max_tokens", "seed", "logprobs", "constraint", "speculate"}  # None has a meaning


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
    constraint: Constraint | None = None  # the form the answer must have
    speculate: str | None = "lookup"  # guess tokens from the text so far; None: do not
    overflow: str = "refuse"  # at the context's end: end there, or "shift": forget the oldest text

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured, naming the field."""
        for name, (low, high) in LIMITS.items():
            _check_number(name, getattr(self, name), low, high)
        _check_choice("speculate", self.speculate, ("lookup", None))
        _check_choice("overflow", self.overflow, ("refuse", "shift"))
        if not isinstance(self.stop, tuple | list) or not all(
            isinstance(text, str) and text for text in self.stop
        ):
            raise RequestError(
                "a stop string is empty, or not a text",
                why="an empty one would end every answer before its first character",
                fix="give texts of at least one character",
                param="stop",
            )
        if not isinstance(self.logit_bias, Mapping):
            raise RequestError(
                f"logit_bias is {self.logit_bias!r}",
                why="it maps token ids to numbers",
                fix="give a mapping such as {42: -100}",
                param="logit_bias",
            )
        for token, bias in self.logit_bias.items():
            if not isinstance(token, Integral) or not isinstance(bias, Real) or not bias < INF:
                raise RequestError(
                    f"logit_bias gives token {token!r} the bias {bias!r}",
                    why="it maps token ids to numbers below infinity; NaN is none",
                    fix="give 100 to force a token, -100 to ban it",
                    param="logit_bias",
                )


def check_suffix_tokens(wanted: SuffixTokens) -> None:
    """Raise RequestError unless `wanted` is a number of tokens, "auto" or None."""
    if wanted is not None and wanted != "auto":
        _check_number("suffix_tokens", wanted, 0, INF)


def _check_choice(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise RequestError(
            f"{name} is {value!r}",
            why=f"it can be {' or '.join(str(choice) for choice in allowed)}",
            fix=f"give one of these, or leave {name} out",
            param=name,
        )


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if value is None and name in OPTIONAL:
        return
    if is_number(value, low, high, whole=name in WHOLE):
        return
    raise RequestError(
        f"{name} is {value!r}",
        why=f"it must be {wanted(low, high, whole=name in WHOLE)}",
        fix=f"give such a {name}, or leave it out",
        param=name,
    )
