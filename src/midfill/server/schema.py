"""What a request may say: null means "not given", unknown fields pass, bad values are refused.

Field names and limits are OpenAI's, with the extensions that other engines share (`top_k`, `min_p`,
`repetition_penalty`, `ignore_eos`). Everything ends in one `Sampling`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from midfill.config.engine import Sampling
from midfill.errors import RequestError

MAX_CHOICES = 8  # answers to one prompt, n or best_of
MAX_PROMPTS = 256
MAX_STOPS = 16  # DeepSeek's limit; OpenAI's is 4
UNBUILT = ("grammar", "json_schema", "regex")  # extensions that would change the answer


def _whole_characters(text: str) -> str:
    if any(
        "\ud800" <= char <= "\udfff" for char in set(text)
    ):  # JSON's \ud800 without its other half
        raise ValueError("it holds a lone surrogate, which is no character")
    return text


Text = Annotated[str, Field(strict=True), AfterValidator(_whole_characters)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Flag = Annotated[bool, Field(strict=True)]
TokenIds = Annotated[list[Count], Field(min_length=1, fail_fast=True)]
StopText = Annotated[Text, Field(min_length=1, max_length=256)]


class StreamOptions(BaseModel):
    """What a stream holds besides the answer."""

    include_usage: Flag | None = None


class Request(BaseModel):
    """What both routes share."""

    model_config = ConfigDict(extra="allow")

    model: Text | None = None
    max_tokens: Count | None = None
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(strict=True, ge=-1)] | None = None  # -1 and 0: all, as elsewhere
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Number, Field(gt=0, le=100)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-100, le=100)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-100, le=100)] | None = None
    logit_bias: Annotated[dict[str, Number], Field(max_length=1024)] | None = None
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(strict=True, ge=1, le=MAX_CHOICES)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: Flag | None = None
    user: Text | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def check(self) -> None:
        """Refuse what would silently change the answer."""
        for name in UNBUILT:
            if (self.model_extra or {}).get(name) is not None:
                raise unsupported(name)

    def shared_sampling(self, defaults: Mapping[str, float]) -> dict[str, Any]:
        """Return the fields of `Sampling` that both routes fill alike; `defaults` are the model's."""
        given = {name: getattr(self, name) for name in _SAME_NAME}
        fields = {name: value for name, value in given.items() if value is not None}
        fields = {"temperature": 1.0, **defaults, **fields}
        fields["top_k"] = max(int(fields.get("top_k", 0)), 0)
        stop = self.stop or ()
        fields["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
        fields["logit_bias"] = _token_bias(self.logit_bias or {})
        return fields


_SAME_NAME = (
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "n"),
    *("presence_penalty", "frequency_penalty", "ignore_eos"),
)


class CompletionRequest(Request):
    """POST /v1/completions; with `suffix` it is a fill."""

    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
    )
    suffix: Text | None = None
    echo: Flag | None = None
    logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    best_of: Annotated[int, Field(strict=True, ge=1, le=MAX_CHOICES)] | None = None

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts as a list, whichever of the four spellings was used."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]  # type: ignore[list-item]
        return self.prompt  # type: ignore[return-value]

    def check(self) -> None:
        """Refuse combinations that cannot be honoured."""
        super().check()
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise RequestError(
                f"best_of is {self.best_of} but n is {self.n}",
                why="n answers are chosen out of best_of",
                fix="give a best_of of at least n",
                param="best_of",
            )
        if self.stream and (self.best_of or 1) > (self.n or 1):
            raise RequestError(
                "best_of cannot be streamed",
                why="the best answers are known only when all are finished",
                fix="leave out stream, or best_of",
                param="best_of",
            )
        if self.suffix is not None and not all(isinstance(text, str) for text in self.prompts):
            raise RequestError(
                "suffix came with a prompt of token ids",
                why="a fill is built from text around the hole",
                fix="send the prompt as text",
                param="prompt",
            )

    def sampling(self, defaults: Mapping[str, float], room: int) -> Sampling:
        """Return how to sample; a fill is greedy and longer unless the request says otherwise.

        `room` is how many tokens fit behind the longest prompt. It cuts the default length, which
        nobody asked for; a length that was asked for and does not fit is refused by the engine.
        """
        fields = self.shared_sampling(defaults)
        fill = self.suffix is not None
        fields.setdefault("max_tokens", max(min(128 if fill else 16, room), 1))
        if fill and self.temperature is None:
            fields["temperature"] = 0.0
        if self.best_of is not None:
            fields["n"] = self.best_of
        ranked = self.best_of is not None and self.best_of > (self.n or 1)
        fields["logprobs"] = 0 if ranked and self.logprobs is None else self.logprobs
        return Sampling(**fields, echo=bool(self.echo))


class ChatRequest(Request):
    """POST /v1/chat/completions; what a message may hold, the tokenizer checks."""

    messages: Annotated[list[Any], Field(max_length=4096)]
    max_completion_tokens: Count | None = None
    logprobs: Flag | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Text | dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> "ChatRequest":
        if self.max_completion_tokens is not None:  # OpenAI's newer name of max_tokens
            self.max_tokens = self.max_completion_tokens
        return self

    def check(self) -> None:
        """Refuse what is not built and what cannot be honoured."""
        super().check()
        if self.tools and self.tool_choice != "none":
            raise unsupported("tools")
        if (self.response_format or {}).get("type", "text") != "text":
            raise unsupported("response_format")
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError(
                "top_logprobs came without logprobs",
                why="there is nothing to report the rivals beside",
                fix="add logprobs: true",
                param="top_logprobs",
            )

    def sampling(self, defaults: Mapping[str, float]) -> Sampling:
        """Return how to sample; without a limit the answer may fill the context."""
        fields = self.shared_sampling(defaults)
        return Sampling(**fields, logprobs=(self.top_logprobs or 0) if self.logprobs else None)


def _token_bias(bias: Mapping[str, float]) -> dict[int, float]:
    """Return token id -> bias; JSON has no integer keys, so they come as text."""
    if not all(key.isascii() and key.isdigit() and len(key) < 20 for key in bias):
        raise RequestError(
            "logit_bias has a key that is no token id",
            why="keys are token ids, as text",
            fix='write it as {"1234": -100}',
            param="logit_bias",
        )
    return {int(key): value for key, value in bias.items()}


def unsupported(param: str) -> RequestError:
    """Build the error for a field that OpenAI has and this server does not have yet."""
    return RequestError(
        f"{param} is not supported",
        why="this server cannot constrain or parse answers yet",
        fix=f"leave out {param}",
        param=param,
        code="unsupported_parameter",
    )
