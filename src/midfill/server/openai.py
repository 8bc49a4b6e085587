"""The OpenAI dialect: requests into `Work`, pieces into bodies and chunks, errors into objects."""

import codecs
import math
import re
import time
import uuid
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import midfill
from midfill.engine.results import Piece, Prompt, TokenLogprob, Usage
from midfill.errors import RequestError, UserError
from midfill.server.schema import ChatRequest, CompletionRequest
from midfill.server.work import Choice, Tally, Work

if TYPE_CHECKING:
    from midfill.engine.text import Coder

Body = dict[str, Any]


def completion_work(coder: "Coder", request: CompletionRequest) -> Work:
    """Return what /v1/completions asks for."""
    request.check()
    if request.suffix is None:
        encoded = [coder.encode_prompt(prompt) for prompt in request.prompts]
    else:
        texts = [text for text in request.prompts if isinstance(text, str)]
        encoded = _encode_fills(coder, texts, request.suffix)
    room = min(coder.room(prompt) for prompt in encoded)
    sampling = request.sampling(coder.defaults, room)
    return Work(model=coder.name, prompts=tuple(encoded), sampling=sampling, keep=request.n or 1)


def _encode_fills(coder: "Coder", texts: Sequence[str], suffix: str) -> list[Prompt]:
    try:
        return [coder.encode_fill(text, suffix) for text in texts]
    except RequestError as error:
        if error.code != "fim_not_supported":
            raise
        raise RequestError(
            error.what,
            why=error.why,
            fix="send no suffix, or serve a model that can fill, such as "
            "qwen2.5-coder-1.5b-instruct-q4_k_m",
            param="suffix",
            code=error.code,
        ) from None


def chat_work(coder: "Coder", request: ChatRequest) -> Work:
    """Return what /v1/chat/completions asks for."""
    request.check()
    if coder.tokenizer.chat_template is None:
        raise RequestError(
            f"{coder.name} cannot chat",
            why="it has no chat template: it is a completion model",
            fix="use /v1/completions, or serve a chat model with --chat-model",
            param="model",
            code="chat_not_supported",
        )
    sampling = request.sampling(coder.defaults)
    try:
        prompt = coder.encode_chat(request.messages)
    except RecursionError:
        raise RequestError(
            "the messages cannot be read",
            why="one holds lists or objects that are nested too deeply",
            fix="send flat messages",
            param="messages",
        ) from None
    return Work(model=coder.name, prompts=(prompt,), sampling=sampling, keep=sampling.n)


class Dialect(ABC):
    """How one route writes; subclasses write their choices."""

    prefix: str
    whole: str  # `object` of a body
    part: str  # `object` of a chunk
    input: str  # the field that holds what the model reads

    def __init__(self, work: Work, *, logprobs: bool, include_usage: bool) -> None:
        self.tally = Tally(work)
        self._begun: set[int] = set()  # choices whose first chunk is out
        self._logprobs = logprobs
        self._include_usage = include_usage
        self._head = {
            "id": f"{self.prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": work.model,
            "system_fingerprint": f"midfill-{midfill.__version__}",
        }

    def chunk(self, piece: Piece) -> Body | None:
        """Return the chunk for `piece`, None when it shows nothing new."""
        choice = self.tally.add(piece)
        if not piece and not piece.finish_reason and not (self._logprobs and piece.tokens):
            return None
        first = piece.choice not in self._begun
        self._begun.add(piece.choice)
        return self._chunk([self._delta(piece.choice, choice, piece, first=first)])

    def last_chunk(self) -> Body | None:
        """Return the chunk that holds the usage, None when nobody asked for it."""
        if not self._include_usage:
            return None
        return {**self._chunk([]), "usage": usage_body(self.tally.usage)}

    def body(self) -> Body:
        """Return the whole answer."""
        choices = [self._choice(index, choice) for index, choice in enumerate(self.tally.shown())]
        usage = usage_body(self.tally.usage)
        return {**self._head, "object": self.whole, "choices": choices, "usage": usage}

    def _chunk(self, choices: list[Body]) -> Body:
        body = {**self._head, "object": self.part, "choices": choices}
        return {**body, "usage": None} if self._include_usage else body

    @abstractmethod
    def _choice(self, index: int, choice: Choice) -> Body:
        """One entry of `choices` in a whole answer."""

    @abstractmethod
    def _delta(self, index: int, choice: Choice, piece: Piece, *, first: bool) -> Body:
        """One entry of `choices` in a chunk."""


class CompletionDialect(Dialect):
    """/v1/completions: `text_completion`, whole and in parts."""

    prefix, whole, part, input = "cmpl", "text_completion", "text_completion", "prompt"

    def __init__(self, work: Work, *, logprobs: bool, include_usage: bool) -> None:
        super().__init__(work, logprobs=logprobs, include_usage=include_usage)
        self._places: defaultdict[int, Places] = defaultdict(self._new_places)  # of each choice

    def _new_places(self) -> "Places":
        return Places(echo=self.tally.work.sampling.echo)

    def _choice(self, index: int, choice: Choice) -> Body:
        return {
            "index": index,
            "text": choice.text,
            "logprobs": self._whole_logprobs(choice) if self._logprobs else None,
            "finish_reason": choice.finish_reason,
        }

    def _delta(self, index: int, choice: Choice, piece: Piece, *, first: bool) -> Body:
        found = None
        if self._logprobs:
            found = completion_logprobs(piece.tokens, self._places[index].of(piece))
        return {
            "index": index,
            "text": piece.text,
            "logprobs": found,
            "finish_reason": piece.finish_reason,
        }

    def _whole_logprobs(self, choice: Choice) -> Body:
        places, end = self._new_places(), len(choice.text)
        offsets = [min(place, end) for piece in choice.pieces for place in places.of(piece)]
        return completion_logprobs(choice.tokens, offsets)


class ChatDialect(Dialect):
    """/v1/chat/completions: `chat.completion` and its chunks."""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"
    input = "messages"

    def _choice(self, index: int, choice: Choice) -> Body:
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text},
            "logprobs": chat_logprobs(choice.tokens) if self._logprobs else None,
            "finish_reason": choice.finish_reason,
        }

    def _delta(self, index: int, choice: Choice, piece: Piece, *, first: bool) -> Body:
        delta: Body = {"role": "assistant"} if first else {}
        if piece or first:
            delta["content"] = piece.text
        return {
            "index": index,
            "delta": delta,
            "logprobs": chat_logprobs(piece.tokens) if self._logprobs else None,
            "finish_reason": piece.finish_reason,
        }


def usage_body(usage: Usage) -> Body:
    """Return the usage object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def completion_logprobs(tokens: Sequence[TokenLogprob], offsets: Sequence[int]) -> Body:
    """Return the four parallel lists; `offsets` says where in the text each token begins."""
    return {
        "tokens": [_spelling(token) for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [_rivals(token) for token in tokens],
        "text_offset": list(offsets),
    }


class Places:
    """Where in the text of one choice its tokens begin: at the character of their first byte.

    Bytes that never become a character count as the U+FFFD that the text shows for them. A token
    that is held back for a stop string is placed as if no stop string came of it, until the end of
    the text is known.
    """

    def __init__(self, *, echo: bool) -> None:
        self._echo = echo  # the first piece is the prompt
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._made = 0  # characters that are whole, shown or held back
        self._shown = 0

    def of(self, piece: Piece) -> list[int]:
        """Return the places of the tokens of `piece`, the next one of the choice."""
        self._shown += len(piece)
        if self._echo:
            self._echo = False
            places = self._take_all(_echoed_bytes(piece))
            self._decode.reset()  # the answer is decoded apart from the prompt
            self._made = self._shown
            return [min(place, self._shown) for place in places]
        places = self._take_all([token.bytes for token in piece.tokens])
        return [min(place, self._shown) for place in places] if piece.finish_reason else places

    def _take_all(self, tokens: Sequence[bytes]) -> list[int]:
        places = [self._take(data) for data in tokens]
        for at in reversed(range(len(places) - 1)):  # a sentinel inside a character is no border
            places[at] = min(places[at], places[at + 1])
        return places

    def _take(self, data: bytes) -> int:
        """Read the bytes of one token and return its place."""
        if not data:
            return self._made + self._begun
        self._made += len(self._decode.decode(data[:1]))
        place = self._made + self._begun - 1
        self._made += len(self._decode.decode(data[1:]))
        return place

    @property
    def _begun(self) -> int:
        """How many characters the text would end with if the bytes did: U+FFFD for what is cut."""
        return len(self._decode.getstate()[0].decode(errors="replace"))


def _echoed_bytes(piece: Piece) -> list[bytes]:
    """Return what each token of an echoed prompt adds to its text.

    A prompt given as ids is echoed with its sentinels, one given as text has none in it.
    """
    plain = [token.bytes for token in piece.tokens]
    if b"".join(plain).decode(errors="replace").startswith(piece.text):
        return plain
    return [token.bytes or token.text.encode() for token in piece.tokens]


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> Body:
    """Return the `content` list of tokens, each with its rivals."""
    content = [
        {**_chat_token(token), "top_logprobs": [_chat_token(rival) for rival in token.top]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _chat_token(token: TokenLogprob) -> Body:
    return {
        "token": token.text,
        "logprob": _finite(token.logprob),
        "bytes": list(token.bytes),
    }


def _rivals(token: TokenLogprob) -> dict[str, float] | None:
    """Return spelling -> log-probability, the chosen token included; the likelier of two alike."""
    if token.logprob is None:
        return None
    found: dict[str, float] = {}
    for rival in (*token.top, token):
        value = _finite(rival.logprob)
        if value is not None:
            found[_spelling(rival)] = max(value, found.get(_spelling(rival), value))
    return found


def _spelling(token: TokenLogprob) -> str:
    """Return the token as text, or as OpenAI's `bytes:` form when it is part of a character."""
    try:
        return token.bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)


def _finite(logprob: float | None) -> float | None:
    """Return `logprob`, with OpenAI's stand-in for minus infinity, which JSON cannot write."""
    return -9999.0 if logprob is not None and math.isinf(logprob) else logprob


def error_body(error: RequestError) -> Body:
    """Return OpenAI's error object: what, why and how to mend it in one message."""
    return {
        "error": {
            "message": f"{error.what}: {error.why}. Fix: {error.fix}.",
            "type": _error_type(error.status),
            "param": error.param,
            "code": error.code,
        }
    }


def model_error(error: UserError) -> RequestError:
    """Build the error for a model that cannot do its part: the client is told, but no folders."""
    what, why, fix = (_FOLDERS.sub("", text) for text in (error.what, error.why, error.fix))
    return RequestError(what, why=why, fix=fix, code="model_error", status=500)


_FOLDERS = re.compile(r"(?<![\w./:\\])(~|[A-Za-z]:)?[/\\]([^/\\\s'\"]+[/\\])+")  # of absolute paths


def _error_type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
