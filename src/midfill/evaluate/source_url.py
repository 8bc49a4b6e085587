"""Answers from any OpenAI-compatible server: /v1/completions and /v1/chat/completions.

A server may refuse, stall, cut an answer short or send nonsense. What passes with time (429, 5xx, a
broken connection, an answer that is not whole) is asked again, later each time; what is left then
has a problem instead of a text, and is never taken for a wrong answer. What will never pass, such
as a refused key, ends the run. The key goes into one header and nowhere else.
"""

import contextlib
import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from midfill import __version__
from midfill.errors import ConfigError
from midfill.evaluate.result import Decoding
from midfill.evaluate.source import TOO_LONG, Answer, Question, most_tokens
from midfill.evaluate.task import Prompt

PREFILLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # into the last turn, into the body
    "prefix": ({"prefix": True}, {}),
    "continue": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
}
LEAST_TOKENS = 32  # an answer for which there is less room than half of this is not asked for
MOST_STOPS = 4  # that OpenAI's API takes; the answer is cut at all of them here
CONNECT_S = 30.0  # for a connection to open
LARGEST = 32 << 20  # bytes of one answer
_SHOWN = 300  # characters of what a server says
_FINAL = {401: "it refuses the key", 403: "it forbids this", 404: "it has no such model or address"}
_AGAIN = {408, 409, 425, 429}  # besides all from 500 on


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, and how often to ask."""

    tries: int = 6
    timeout_s: float = 600.0  # of one answer, from the connection to its last byte
    first_s: float = 1.0  # before the second try; doubled for each that follows
    longest_s: float = 60.0  # before any try, whatever the server asks for


class _PassingError(Exception):
    """A failure after which the same request may succeed."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s  # what the server asked to wait


class _RefusedError(Exception):
    """This one request will never be answered."""


class _TooLongError(Exception):
    """The prompt does not fit the model's context."""


class UrlSource:
    """A model behind a URL, asked `requests` questions at a time."""

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        prefill: str | None = None,
        requests: int = 8,
        patience: Patience | None = None,
    ) -> None:
        """`model` None takes the one that the server has. Raises ConfigError.

        `prefill` says how the server goes on with a begun answer: "prefix" or "continue".
        """
        if prefill is not None and prefill not in PREFILLS:
            raise ConfigError(
                f"--prefill is {prefill!r}",
                why=f"it can be {', '.join(PREFILLS)}",
                fix="leave it out where the server cannot go on with a begun answer",
            )
        self.patience = patience or Patience()
        self._place = _Place.of(url)
        self._headers = _headers(api_key)
        self._key = api_key or ""
        self._prefill = prefill
        self._requests = requests
        self._left_out = 0  # prompts whose begun answer the server was not told
        self._ended = threading.Event()
        self._open: set[http.client.HTTPConnection] = set()
        self.name = self._only_model() if model is None else model

    def __repr__(self) -> str:
        return f"UrlSource({self._place.url!r}, {self.name!r})"

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether begun answers were left out."""
        if not self._left_out:
            return ()
        return (
            "the server was not told how the answer begins, as the benchmark wants it: "
            "--prefill names a way to tell it",
        )

    def describe(self) -> dict[str, Any]:
        """Address, model, and how begun answers are told."""
        return {
            "kind": "url",
            "url": self._place.url,
            "model": self.name,
            "prefill": self._prefill or "none",
        }

    def answers(
        self, questions: Sequence[Question], decoding: Decoding
    ) -> Iterator[tuple[int, Answer]]:
        """Keep `requests` questions on the way until each has its answer or its problem."""
        waiting = deque(enumerate(questions))
        asked: dict[Future[Answer], int] = {}
        self._ended.clear()
        threads = ThreadPoolExecutor(self._requests, "ask")
        try:
            while waiting or asked:
                while waiting and len(asked) < self._requests:
                    number, question = waiting.popleft()
                    asked[threads.submit(self._answer, question, decoding)] = number
                for future in wait(asked, return_when=FIRST_COMPLETED).done:
                    yield asked.pop(future), future.result()
        finally:
            self._ended.set()  # those that wait for another try give up
            for connection in list(self._open):
                _hang_up(connection)
            threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, question: Question, decoding: Decoding) -> Answer:
        began = time.monotonic()
        path, body = self._request(question, decoding)
        chat = path.startswith("/chat")
        try:
            answer = self._fitting(path, body, chat=chat)
        except _TooLongError:
            return Answer(finish=TOO_LONG, tokens=0, seconds=time.monotonic() - began)
        except (_PassingError, _RefusedError) as problem:
            return Answer(problem=self._said(str(problem)), seconds=time.monotonic() - began)
        text, cut = _cut(answer.text, question.prompt)
        return Answer(
            text=text,
            finish="stop" if cut else answer.finish,
            prompt_tokens=answer.prompt_tokens,
            tokens=answer.tokens,
            seconds=time.monotonic() - began,
        )

    def _fitting(self, path: str, body: dict[str, Any], *, chat: bool) -> Answer:
        """The answer, as long as the context has room for. Raises _TooLongError where it has none."""
        while True:
            try:
                return self._patiently(lambda: _read(self._post(path, body), chat=chat))
            except _TooLongError:
                if body["max_tokens"] < LEAST_TOKENS:
                    raise
                body["max_tokens"] //= 2

    def _patiently(self, ask: Any) -> Any:
        """What `ask` gives, after as many tries as it takes. Raises the last failure."""
        pause = self.patience.first_s
        for left in reversed(range(self.patience.tries)):
            try:
                return ask()
            except _PassingError as problem:
                if not left or self._ended.is_set():
                    raise
                wanted = pause if problem.after_s is None else problem.after_s
                wanted *= random.uniform(1, 1.25)  # not all again at the same moment
                if self._ended.wait(min(wanted, self.patience.longest_s)):
                    raise
                pause *= 2
        raise AssertionError("the last try returns or raises")

    # ------------------------------------------------------------------------------- a request

    def _request(self, question: Question, decoding: Decoding) -> tuple[str, dict[str, Any]]:
        prompt = question.prompt
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": most_tokens(prompt, decoding),
            "temperature": decoding.temperature,
        }
        if decoding.temperature:
            body |= {"top_p": decoding.top_p, "seed": question.seed}
            body |= {"top_k": decoding.top_k} if decoding.top_k else {}
        if prompt.stop:
            body["stop"] = list(prompt.stop[:MOST_STOPS])
        if prompt.messages is not None:
            return "/chat/completions", body | self._conversation(prompt)
        if prompt.suffix is not None:
            prefix = (prompt.prefix or "") + prompt.answer_start
            return "/completions", body | {"prompt": prefix, "suffix": prompt.suffix}
        return "/completions", body | {"prompt": (prompt.text or "") + prompt.answer_start}

    def _conversation(self, prompt: Prompt) -> dict[str, Any]:
        turns: list[Mapping[str, Any]] = [dict(turn) for turn in prompt.messages or ()]
        if not prompt.answer_start:
            return {"messages": turns}
        if self._prefill is None:
            self._left_out += 1
            return {"messages": turns}
        in_turn, in_body = PREFILLS[self._prefill]
        turns.append({"role": "assistant", "content": prompt.answer_start, **in_turn})
        return {"messages": turns, **in_body}

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        text = json.dumps(body).encode()
        status, headers, raw = self._exchange("POST", path, text)
        if status == 200:
            return _parsed(raw)
        words = _words(raw)
        self._judge_status(status, headers, self._said(words))
        if re.search(r"context_length_exceeded|maximum context|context length", words):
            raise _TooLongError
        raise _RefusedError(f"status {status}: {words}")

    def _judge_status(self, status: int, headers: Mapping[str, str], said: str) -> None:
        """Raise for a failure that passes, and for one that will end every request."""
        if status in _AGAIN or status >= 500:
            raise _PassingError(f"status {status}: {said}", _seconds(headers.get("retry-after")))
        if status in _FINAL or 300 <= status < 400:
            why = _FINAL.get(status, f"it sends elsewhere, to {headers.get('location', '?')}")
            raise ConfigError(
                f"{self._place.url} answers {status}",
                why=f"{why}: {said}" if said else why,
                fix="check --url, MODEL and the key in OPENAI_API_KEY",
            )

    def _exchange(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer that came whole. Raises _PassingError."""
        connection = self._place.connection()
        watchdog = threading.Timer(self.patience.timeout_s, _hang_up, (connection,))
        watchdog.daemon = True
        try:
            connection.connect()
            connection.sock.settimeout(self.patience.timeout_s)
            watchdog.start()  # a server that sends a byte now and then never times out by itself
            self._open.add(connection)
            if self._ended.is_set():
                raise _PassingError("the run was ended")
            connection.request(method, self._place.path + path, body, self._headers)
            answer = connection.getresponse()
            raw = answer.read(LARGEST + 1)
            if len(raw) > LARGEST:
                raise _PassingError(f"the answer is larger than {LARGEST >> 20} MB")
            left = answer.length
            if left:
                raise _PassingError(f"the answer was cut short: {left} bytes are missing")
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, raw
        except TimeoutError:
            raise _PassingError(f"no whole answer in {self.patience.timeout_s:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as problem:
            # ValueError: of the client itself, when the watchdog has closed its file
            raise _PassingError(f"{type(problem).__name__}: {problem}") from problem
        finally:
            watchdog.cancel()
            self._open.discard(connection)
            connection.close()

    def _said(self, text: str) -> str:
        """What the server says, without the key that it may repeat."""
        hidden = text.replace(self._key, "[key]") if self._key else text
        return " ".join(hidden.split())[:_SHOWN]

    def _only_model(self) -> str:
        """The one model of the server. Raises ConfigError where there are none, or several."""

        def ask() -> list[str]:
            status, headers, raw = self._exchange("GET", "/models")
            if status != 200:
                self._judge_status(status, headers, self._said(_words(raw)))
                raise _RefusedError(f"status {status}: {_words(raw)}")
            listed = _parsed(raw)
            data = listed.get("data") if isinstance(listed, dict) else None
            rows = data if isinstance(data, list) else []
            return [row["id"] for row in rows if isinstance(row, dict) and "id" in row]

        try:
            names = self._patiently(ask)
        except (_PassingError, _RefusedError) as problem:
            raise ConfigError(
                f"{self._place.url} does not say which models it has",
                why=self._said(str(problem)),
                fix="check that it runs; or name the model behind the benchmark",
            ) from None
        if len(names) != 1:
            shown = ", ".join(map(str, names[:8])) or "none"
            raise ConfigError(
                f"{self._place.url} has {len(names)} models",
                why=f"one must be chosen: {self._said(shown)}",
                fix="name it behind the benchmark",
            )
        return str(names[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a server is."""

    url: str
    secure: bool
    host: str
    port: int | None
    path: str

    @classmethod
    def of(cls, url: str) -> "_Place":
        """The base address of the API, from any of the ways in which people write it."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError as problem:
            raise _bad_url(url, str(problem)) from problem
        if parts.scheme not in ("http", "https") or not host:
            raise _bad_url(url, "it names no server to speak HTTP with")
        if parts.username or parts.password:
            raise _bad_url("the address", "it holds a password, which would be kept with the run")
        path = parts.path.rstrip("/")
        for end in ("/chat/completions", "/completions", "/models"):
            path = path.removesuffix(end)
        path = path or "/v1"
        shown = f"[{host}]" if ":" in host else host
        address = f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{path}"
        return cls(url=address, secure=parts.scheme == "https", host=host, port=port, path=path)

    def connection(self) -> http.client.HTTPConnection:
        """A connection, not opened yet."""
        if not self.secure:
            return http.client.HTTPConnection(self.host, self.port, timeout=CONNECT_S)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self.host, self.port, timeout=CONNECT_S, context=context)


def _bad_url(url: str, why: str) -> ConfigError:
    return ConfigError(
        f"{url} cannot be asked", why=why, fix="--url http://127.0.0.1:8000, and the key apart"
    )


def _headers(api_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": f"midfill/{__version__}"}
    if api_key:
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigError(
                "the key cannot be sent",
                why="it holds a space, a line end or a character beyond ASCII",
                fix="copy it into OPENAI_API_KEY again",
            )
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """End a connection that another thread reads from."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _seconds(text: str | None) -> float | None:
    """The seconds of a Retry-After header; None for a date, or nonsense."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e6 else None


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise _PassingError(f"the answer is no JSON: {problem}") from problem


def _words(raw: bytes) -> str:
    """What an error says, as text."""
    try:
        said = json.loads(raw[:LARGEST])
    except (ValueError, RecursionError):
        return raw[: 4 * _SHOWN].decode("utf-8", "replace")
    if isinstance(said, dict) and isinstance(said.get("error"), dict):
        error = said["error"]
        return f"{error.get('message', '')} {error.get('code') or ''}".strip()
    return json.dumps(said)


def _read(answer: Any, *, chat: bool) -> Answer:
    """The first choice of an answer. Raises _PassingError where it is not whole."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] if chat else choice["text"]
        finish = choice["finish_reason"]
    except (KeyError, IndexError, TypeError) as problem:
        raise _PassingError(f"the answer lacks its parts: {problem!r}") from problem
    if text is None and finish in ("stop", "length"):
        text = ""  # a chat that ends at once
    if not isinstance(text, str) or finish not in ("stop", "length"):
        raise _PassingError(f"the answer was not finished: finish_reason is {finish!r}")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (n if isinstance(n, int) and n >= 0 else None for n in counts)
    return Answer(text=text, finish=finish, prompt_tokens=read, tokens=written)


def _cut(text: str, prompt: Prompt) -> tuple[str, bool]:
    """The text without the words it was begun with, up to the first stop; whether there was one."""
    if prompt.answer_start:  # some servers repeat it
        text = text.removeprefix(prompt.answer_start)
    found = [place for stop in prompt.stop if (place := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)
