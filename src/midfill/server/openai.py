"""The OpenAI dialect: requests into `Work`, pieces into bodies and chunks, errors into objects."""

import codecs
import math
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import midfill
from midfill.engine.results import Piece, TokenLogprob, Usage
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
        encoded = [coder.encode_fill(text, request.suffix) for text in texts]
    room = min(coder.room(prompt) for prompt in encoded)
    sampling = request.sampling(coder.defaults, room)
    return Work(model=coder.name, prompts=tuple(encoded), sampling=sampling, keep=request.n or 1)


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


class Dialect:
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

    def _choice(self, index: int, choice: Choice) -> Body:
        raise NotImplementedError

    def _delta(self, index: int, choice: Choice, piece: Piece, *, first: bool) -> Body:
        raise NotImplementedError


class CompletionDialect(Dialect):
    """/v1/completions: `text_completion`, whole and in parts."""

    prefix, whole, part, input = "cmpl", "text_completion", "text_completion", "prompt"

    def __init__(self, work: Work, *, logprobs: bool, include_usage: bool) -> None:
        super().__init__(work, logprobs=logprobs, include_usage=include_usage)
        self._shown: defaultdict[int, int] = defaultdict(int)  # characters of each choice so far

    def _choice(self, index: int, choice: Choice) -> Body:
        return {
            "index": index,
            "text": choice.text,
            "logprobs": completion_logprobs(choice.pieces) if self._logprobs else None,
            "finish_reason": choice.finish_reason,
        }

    def _delta(self, index: int, choice: Choice, piece: Piece, *, first: bool) -> Body:
        offset = self._shown[index]
        self._shown[index] += len(piece)
        return {
            "index": index,
            "text": piece.text,
            "logprobs": completion_logprobs([piece], offset) if self._logprobs else None,
            "finish_reason": piece.finish_reason,
        }


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
    }


def completion_logprobs(pieces: Sequence[Piece], offset: int = 0) -> Body:
    """Return the four parallel lists; `offset` is how many characters came before."""
    tokens: list[str] = []
    chosen: list[float | None] = []
    rivals: list[dict[str, float] | None] = []
    offsets: list[int] = []
    for piece in pieces:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        inside = 0  # a token held back for a stop string may reach past what the piece shows
        for token in piece.tokens:
            tokens.append(_spelling(token))
            chosen.append(_finite(token.logprob))
            rivals.append(_rivals(token))
            offsets.append(offset + min(inside, len(piece)))
            inside += len(decoder.decode(token.bytes))
        offset += len(piece)
    return {
        "tokens": tokens,
        "token_logprobs": chosen,
        "top_logprobs": rivals,
        "text_offset": offsets,
    }


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
