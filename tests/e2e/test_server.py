"""The server through the official client, through raw HTTP, and against what it must refuse."""

import codecs
import contextlib
import http.client
import json
import logging
import math
import random
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import uvicorn

import midfill
from midfill.config.server import ServerConfig
from midfill.engine.results import Piece, TokenLogprob
from midfill.errors import ConfigError, RequestError, ResourceError, TokenizerError
from midfill.server import create_app
from midfill.server.openai import Places
from midfill.server.run import listen
from midfill.server.schema import ChatRequest, CompletionRequest
from midfill.tokenizer.fim import encode_fim

MIDDLE = ("def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n")
HELLO: list[Any] = [{"role": "user", "content": "Say something."}]


class Slow:
    """The model, with a pause before every piece and a count of the answers in the making."""

    def __init__(self, coder: Any, pause: float = 0.02) -> None:
        self._coder = coder
        self._pause = pause
        self.running = 0
        self.made = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coder, name)

    def generate(self, *args: Any) -> Iterator[Any]:
        return self._paused(self._coder.generate(*args))

    def _paused(self, pieces: Iterator[Any]) -> Iterator[Any]:
        self.running += 1
        try:
            for piece in pieces:
                time.sleep(self._pause)
                self.made += 1
                yield piece
        finally:
            self.running -= 1


class Running:
    """A server on a free port, in a thread."""

    def __init__(self, coder: Any, chat_coder: Any = None, **options: Any) -> None:
        self.config = ServerConfig(port=0, **options)
        self._socket = listen(self.config)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = create_app(coder, self.config, chat_coder=chat_coder)
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, log_level="error", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def client(self, **options: Any) -> openai.OpenAI:
        fixed = {"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0}
        return openai.OpenAI(**{**fixed, **options})

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=30, **options)

    @property
    def load(self) -> tuple[int, int]:
        return self.app.state.desk.worker.load


@pytest.fixture(scope="module")
def server(tiny_coder: Any) -> Iterator[Running]:
    with Running(tiny_coder) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as made:
        yield made


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not check() and time.monotonic() < deadline:
        time.sleep(0.01)
    return check()


# ---- the official client -------------------------------------------------------------------------


def test_models_are_listed_with_what_they_can(client: openai.OpenAI, tiny_coder: Any):
    (model,) = client.models.list().data
    assert model.id == tiny_coder.name
    assert model.model_dump()["context_length"] == tiny_coder.context
    assert model.model_dump()["fim"]
    assert model.model_dump()["chat"]
    assert client.models.retrieve(tiny_coder.name).id == tiny_coder.name


def test_completion_defaults_to_sixteen_tokens(client: openai.OpenAI, tiny_coder: Any):
    answer = client.completions.create(
        model=tiny_coder.name, prompt="def f(", temperature=0, extra_body={"ignore_eos": True}
    )
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 16


@pytest.mark.parametrize("suffix", [None, "", MIDDLE[1]])
def test_completion_streams_what_it_answers(client: openai.OpenAI, suffix: str | None):
    ask: dict[str, Any] = {"model": "default", "prompt": MIDDLE[0], "max_tokens": 24}
    ask |= {"suffix": suffix, "temperature": 0}
    whole = client.completions.create(**ask)
    parts = list(
        client.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.text for part in parts for c in part.choices) == whole.choices[0].text
    assert parts[-1].choices == []
    assert parts[-1].usage == whole.usage
    assert all(part.usage is None for part in parts[:-1])
    reasons = [c.finish_reason for part in parts for c in part.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert not any(reasons[:-1])


def test_an_empty_suffix_is_a_fill(client: openai.OpenAI, tiny_coder: Any):
    fill = client.completions.create(model="", prompt="x = ", suffix="", max_tokens=1)
    plain = client.completions.create(model="", prompt="x = ", max_tokens=1)
    assert fill.usage is not None
    assert plain.usage is not None
    assert fill.usage.prompt_tokens == len(tiny_coder.encode_fill("x = ", "").ids)
    assert plain.usage.prompt_tokens == len(tiny_coder.encode_prompt("x = ").ids)


def test_echo_with_suffix_gives_prompt_and_middle(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": MIDDLE[0], "suffix": MIDDLE[1], "max_tokens": 8}
    plain = client.completions.create(**ask)
    echoed = client.completions.create(**ask, echo=True)
    assert echoed.choices[0].text == MIDDLE[0] + plain.choices[0].text
    assert echoed.usage == plain.usage


@pytest.mark.parametrize("n", [1, 2])
def test_chat_streams_what_it_answers(client: openai.OpenAI, n: int):
    ask: dict[str, Any] = {"model": "default", "messages": HELLO, "max_tokens": 24, "n": n}
    ask |= {"seed": 7, "temperature": 0.8}
    whole = client.chat.completions.create(**ask)
    texts = [""] * n
    roles = [0] * n
    reasons: list[str | None] = [None] * n
    for part in client.chat.completions.create(**ask, stream=True):
        for choice in part.choices:
            texts[choice.index] += choice.delta.content or ""
            roles[choice.index] += choice.delta.role == "assistant"
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert roles == [1] * n
    assert whole.object == "chat.completion"
    assert whole.id.startswith("chatcmpl-")


def test_chat_takes_text_parts_and_the_developer_role(client: openai.OpenAI):
    def ask(*messages: Any) -> Any:
        return client.chat.completions.create(
            model="", messages=messages, temperature=0, max_completion_tokens=8
        )

    plain = ask({"role": "system", "content": "Be brief."}, {"role": "user", "content": "a\nb"})
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    other = ask({"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts})
    assert other.choices[0].message.content == plain.choices[0].message.content
    assert other.usage == plain.usage


def test_prefix_opens_the_answer(client: openai.OpenAI, tiny_coder: Any):
    opened = [*HELLO, {"role": "assistant", "content": "Certainly"}]
    prompt = tiny_coder.encode_chat(opened, continue_last=True)
    opened[-1] = {**opened[-1], "prefix": True}
    answer = client.chat.completions.create(model="", messages=opened, max_tokens=8, temperature=0)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt.ids)


def test_completion_logprobs_are_parallel_and_sorted_out(client: openai.OpenAI):
    answer = client.completions.create(
        model="", prompt="def f(", logprobs=3, max_tokens=8, temperature=0, echo=True
    )
    choice = answer.choices[0]
    found = choice.logprobs
    assert found is not None
    assert found.tokens is not None
    assert found.token_logprobs is not None
    assert found.top_logprobs is not None
    assert found.text_offset is not None
    sizes = {len(x) for x in (found.tokens, found.token_logprobs, found.top_logprobs)}
    assert sizes == {len(found.text_offset)}
    assert found.token_logprobs[0] is None
    assert found.top_logprobs[0] is None
    for logprob, rivals in zip(found.token_logprobs[1:], found.top_logprobs[1:], strict=True):
        assert logprob is not None
        assert logprob <= 0
        assert 1 <= len(rivals) <= 4
        assert logprob in rivals.values()
    assert found.text_offset == sorted(found.text_offset)
    assert max(found.text_offset) <= len(choice.text)


def test_streamed_logprobs_join_to_the_whole(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": "def f(", "logprobs": 2, "temperature": 0}
    whole: Any = client.completions.create(**ask).choices[0].logprobs
    joined: dict[str, list[Any]] = {name: [] for name in whole.model_dump()}
    for part in client.completions.create(**ask, stream=True):
        for choice in part.choices:
            found: Any = choice.logprobs
            for name, values in found.model_dump().items():
                joined[name] += values
    assert joined == whole.model_dump()


def bytes_of(token: str) -> bytes:
    """The bytes that a token of `logprobs` is spelled for."""
    if token.startswith("bytes:"):
        return bytes.fromhex(token.removeprefix("bytes:").replace("\\x", ""))
    return token.encode()


def places(tokens: list[bytes], begin: int = 0) -> list[int]:
    """The character that holds the first byte of each token: the last one when decoding ends there."""
    found, data = [], b""
    for token in tokens:
        found.append(begin + len((data + token[:1]).decode(errors="replace")) - bool(token))
        data += token
    return [min(found[at:]) for at in range(len(found))]


@pytest.mark.parametrize("stop", [None, ["\ufffd" * 3 + "\0", "ab", "re\ufffd"]])
def test_text_offsets_index_the_text_whatever_the_bytes(
    server: Running, tiny_coder: Any, stop: Any
):
    """An untrained model writes mostly bytes that are parts of characters."""
    fragments = "é€😀".encode() + b"a\xe2\x82b\xf0\x9f\x98\xe2"
    ids = {tiny_coder.tokenizer.token_bytes(token): token for token in range(256)}
    body = {
        "prompt": [ids[bytes([byte])] for byte in fragments],
        "max_tokens": 60,
        "temperature": 1.5,
        "logprobs": 0,
    }
    seen = 0
    for seed in range(12):
        ask = {**body, "seed": seed, "echo": seed % 2 == 0, "stop": stop}
        choice = server.post("/v1/completions", ask).json()["choices"][0]
        found, text = choice["logprobs"], choice["text"]
        tokens = [bytes_of(token) for token in found["tokens"]]
        echoed = tokens[: len(fragments)] if ask["echo"] else []
        head = len(b"".join(echoed).decode(errors="replace"))
        want = places(echoed) + places(tokens[len(echoed) :], head)
        assert found["text_offset"] == [min(place, len(text)) for place in want], seed
        seen += text.count("\ufffd")
        raw = server.post("/v1/completions", {**ask, "stream": True}).text.split("\n\n")
        parts = [json.loads(event[6:])["choices"][0] for event in raw[:-2]]
        streamed = [place for part in parts for place in part["logprobs"]["text_offset"]]
        assert [min(place, len(text)) for place in streamed] == found["text_offset"]
    assert seen > 100


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_text_offsets_of_random_fragments(size: int):
    """Offsets do not depend on how tokens fall into pieces, nor pieces on characters."""
    chance = random.Random(size)
    alphabet = [*"aé€😀\u2028".encode(), 0xFF, 0xED, 0xA0, 0xC0]
    for _ in range(300):
        tokens = [
            bytes(chance.choices(alphabet, k=chance.randrange(1, size + 1)))
            for _ in range(chance.randrange(1, 12))
        ]
        decoder, cursor, found = codecs.getincrementaldecoder("utf-8")("replace"), 0, []
        answer, held = Places(echo=False), []
        for number, token in enumerate(tokens, 1):
            last = number == len(tokens)
            held.append(TokenLogprob(0, "", token))
            text = decoder.decode(token, final=last)
            cursor += len(text)
            if text or last:
                piece = Piece(text, tokens=tuple(held), finish_reason="length" if last else None)
                found += answer.of(piece)
                held = []
        assert found == places(tokens)
        assert max(found) < cursor


def test_text_offsets_count_echoed_sentinels_and_the_end(server: Running, tiny_coder: Any):
    tokenizer = tiny_coder.tokenizer
    ids = [tokenizer.bos_id, *tokenizer.encode("Xé"), tokenizer.fim.prefix, *tokenizer.encode("Z")]
    ask = {"prompt": ids, "max_tokens": 0, "logprobs": 0, "echo": True}
    choice = server.post("/v1/completions", ask).json()["choices"][0]
    first, last = choice["text"].index("X"), choice["text"].rindex("Z")
    assert choice["logprobs"]["text_offset"] == [0, first, first + 1, first + 1, first + 2, last]
    cut, end = TokenLogprob(0, "", b"\xe2"), TokenLogprob(0, "<end>", b"")
    piece = Piece("\ufffd", tokens=(cut, end), finish_reason="stop")
    assert Places(echo=False).of(piece) == [0, 1]


def test_chat_logprobs_carry_bytes_and_rivals(client: openai.OpenAI):
    answer = client.chat.completions.create(
        model="", messages=HELLO, logprobs=True, top_logprobs=2, max_tokens=4, temperature=0
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content
    for token in found.content:
        assert token.logprob <= 0
        assert token.bytes is not None
        assert len(token.top_logprobs) == 2
        assert math.isclose(token.logprob, token.top_logprobs[0].logprob)


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_harness_scores_prompts_given_as_ids(server: Running, tiny_coder: Any, max_tokens: int):
    """The request lm-eval sends for log-likelihoods, and the slice it takes of the answer."""
    prompts = [tiny_coder.encode_prompt(text).ids for text in ("a = 1", "def f(x): return x")]
    body = {"prompt": prompts, "max_tokens": max_tokens, "logprobs": 1, "echo": True}
    answer = server.post("/v1/completions", {**body, "temperature": 0, "seed": 1}).json()
    for index, (ids, choice) in enumerate(zip(prompts, answer["choices"], strict=True)):
        assert choice["index"] == index
        logprobs = choice["logprobs"]["token_logprobs"]
        rivals = choice["logprobs"]["top_logprobs"]
        assert len(logprobs) == len(rivals) == len(ids) + max_tokens
        context = 2
        end = -1 if max_tokens else None
        assert all(value <= 0 for value in logprobs[context:end])
        for value, top in zip(logprobs[context:end], rivals[context:end], strict=True):
            assert value <= max(top.values())
    assert answer["usage"]["prompt_tokens"] == sum(map(len, prompts))
    assert answer["usage"]["completion_tokens"] == max_tokens * len(prompts)


def test_several_prompts_times_n_are_ordered(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "max_tokens": 6, "seed": 3, "temperature": 0.9}
    both = client.completions.create(**ask, prompt=["one", "two"], n=2).choices
    assert [choice.index for choice in both] == [0, 1, 2, 3]
    alone = client.completions.create(**ask, prompt="two", n=2).choices
    assert [choice.text for choice in both[2:]] == [choice.text for choice in alone]


def test_best_of_keeps_the_likeliest(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": "x", "seed": 5, "temperature": 1.5}
    ask |= {"max_tokens": 6, "logprobs": 0}
    every = client.completions.create(**ask, n=4).choices

    def mean(choice: Any) -> float:
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    kept = client.completions.create(**ask, best_of=4, n=2).choices
    want = sorted(choice.text for choice in sorted(every, key=mean)[-2:])
    assert sorted(choice.text for choice in kept) == want
    assert mean(kept[0]) >= mean(kept[1])


def test_stop_ends_before_the_stop_string(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": "def f(", "temperature": 0, "max_tokens": 32}
    free = client.completions.create(**ask).choices[0].text
    stop = free[3:5]
    cut = client.completions.create(**ask, stop=[stop, "never"]).choices[0]
    assert cut.text == free[: free.index(stop)]
    assert cut.finish_reason == "stop"


def test_client_errors_are_typed(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="", prompt="x", max_tokens=-3)
    assert (bad.value.param, bad.value.code) == ("max_tokens", "invalid_request")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.completions.create(model="no-such-model", prompt="x")
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")


def test_a_second_model_chats(tiny_coder: Any):
    chatty: Any = Slow(tiny_coder, 0)
    chatty.name = "other/chatty"
    with Running(tiny_coder, lambda: chatty) as server, server.client() as client:
        assert [model.id for model in client.models.list().data] == [tiny_coder.name, chatty.name]
        plain = client.completions.create(model="default", prompt="x", max_tokens=1)
        assert plain.model == tiny_coder.name
        assert chatty.made == 0
        for name in ("default", "other/chatty", "chatty"):
            chat = client.chat.completions.create(model=name, messages=HELLO, max_tokens=1)
            assert chat.model == chatty.name


def test_a_model_without_template_says_that_it_cannot_chat(tiny_coder: Any):
    class Base(Slow):
        tokenizer = SimpleNamespace(chat_template=None)
        can_fill = False

    with Running(Base(tiny_coder)) as server:
        error = server.post(CHAT, {"messages": HELLO}).json()["error"]
        assert error["code"] == "chat_not_supported"
        (entry,) = httpx.get(server.url + "/v1/models").json()["data"]
        assert (entry["fim"], entry["chat"]) == (False, False)


def test_defaults_are_the_models_then_openais():
    defaults = {"temperature": 0.2, "top_p": 0.9, "top_k": 40}
    chosen = CompletionRequest(prompt="x", top_p=0.5).sampling(defaults, 99)
    assert (chosen.temperature, chosen.top_p, chosen.top_k, chosen.max_tokens) == (0.2, 0.5, 40, 16)
    fill = CompletionRequest(prompt="x", suffix="").sampling(defaults, 999)
    assert (fill.temperature, fill.max_tokens) == (0.0, 128)
    chat = ChatRequest.model_validate({"messages": HELLO}).sampling({})
    assert (chat.temperature, chat.top_p, chat.top_k, chat.max_tokens) == (1.0, 1.0, 0, None)


def test_unknown_model_is_told_the_nearest(server: Running, tiny_coder: Any):
    answer = server.post("/v1/completions", {"model": tiny_coder.name[:-1], "prompt": "x"})
    assert answer.status_code == 404
    assert repr(tiny_coder.name) in answer.json()["error"]["message"]


# ---- the stream, byte by byte --------------------------------------------------------------------


def test_stream_is_strict_sse(server: Running):
    with httpx.stream(
        "POST", server.url + "/v1/completions", json={"prompt": "é", "stream": True}, timeout=30
    ) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]
    *events, end = raw.decode("ascii").split("\n\n")
    assert end == ""
    assert events[-1] == "data: [DONE]"
    for event in events[:-1]:
        assert event.startswith("data: {")
        assert "\n" not in event
        assert json.loads(event[6:])["object"] == "text_completion"


def test_an_error_in_the_middle_is_said_in_the_stream(tiny_coder: Any):
    class Breaking(Slow):
        def _paused(self, pieces: Iterator[Any]) -> Iterator[Any]:
            yield next(pieces)
            raise RequestError("out of pages", why="too much", fix="wait", status=503)

    with Running(Breaking(tiny_coder)) as server, server.client() as client:
        stream = client.completions.create(
            model="", prompt="x", stream=True, extra_body={"ignore_eos": True}
        )
        with pytest.raises(openai.APIError, match="out of pages"):
            list(stream)
        answer = server.post("/v1/completions", {"prompt": "x", "stream": True})
        assert answer.text.endswith("data: [DONE]\n\n")
        assert server.post("/v1/completions", {"prompt": "x"}).status_code == 503


def test_a_bug_shows_no_traceback(tiny_coder: Any, caplog: pytest.LogCaptureFixture):
    class Broken(Slow):
        def _paused(self, pieces: Iterator[Any]) -> Iterator[Any]:
            raise ZeroDivisionError("secret")
            yield

    with Running(Broken(tiny_coder)) as server:
        for stream in (False, True):
            answer = server.post(
                "/v1/completions", {"prompt": "x", "stream": stream}, headers={"X-Request-Id": "r7"}
            )
            assert answer.status_code == (200 if stream else 500)
            assert answer.headers["x-request-id"] == "r7"
            assert '"code":"internal"' in answer.text
            assert "secret" not in answer.text
            assert "Traceback" not in answer.text
    assert "r7" in caplog.text


# ---- what is refused -----------------------------------------------------------------------------

COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        (COMPLETION, {}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": None}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": []}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": {"a": 1}}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": ["a", 1]}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": [1, 10**9]}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": [1, -1]}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": [1], "suffix": "x"}, "prompt", "invalid_request"),
        (COMPLETION, {"prompt": "x", "max_tokens": "abc"}, "max_tokens", "invalid_request"),
        (COMPLETION, {"prompt": "x", "max_tokens": True}, "max_tokens", "invalid_request"),
        (COMPLETION, {"prompt": "x", "max_tokens": -3}, "max_tokens", "invalid_request"),
        (COMPLETION, {"prompt": "x", "temperature": -1}, "temperature", "invalid_request"),
        (COMPLETION, {"prompt": "x", "temperature": "hot"}, "temperature", "invalid_request"),
        (COMPLETION, {"prompt": "x", "top_p": 1.5}, "top_p", "invalid_request"),
        (COMPLETION, {"prompt": "x", "n": 0}, "n", "invalid_request"),
        (COMPLETION, {"prompt": "x", "n": 1000}, "n", "invalid_request"),
        (COMPLETION, {"prompt": "x", "n": 2, "best_of": 1}, "best_of", "invalid_request"),
        (COMPLETION, {"prompt": "x", "best_of": 2, "stream": True}, "best_of", "invalid_request"),
        (COMPLETION, {"prompt": "x", "stop": ["a"] * 17}, "stop", "invalid_request"),
        (COMPLETION, {"prompt": "x", "stop": ""}, "stop", "invalid_request"),
        (COMPLETION, {"prompt": "x", "logprobs": 21}, "logprobs", "invalid_request"),
        (COMPLETION, {"prompt": "x", "logit_bias": {"no": 1}}, "logit_bias", "invalid_request"),
        (COMPLETION, {"prompt": "x", "seed": 2**70}, "seed", "invalid_request"),
        (COMPLETION, {"prompt": "x", "grammar": "root"}, "grammar", "unsupported_parameter"),
        (CHAT, {"messages": []}, "messages", "invalid_request"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "invalid_request"),
        (CHAT, {"messages": [{"role": "pirate", "content": ""}]}, "messages[0].role", None),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None, None),
        (CHAT, {"messages": HELLO, "top_logprobs": 2}, "top_logprobs", "invalid_request"),
        (CHAT, {"messages": HELLO, "tools": [{"type": "function"}]}, "tools", None),
        (CHAT, {"messages": HELLO, "response_format": {"type": "json_object"}}, None, None),
        (CHAT, {"messages": [{**HELLO[0], "prefix": True}]}, "messages[0]", None),
        (CHAT, {"messages": [{**HELLO[0], "prefix": True}, *HELLO]}, "messages[0].prefix", None),
        (CHAT, {"messages": ["hello"]}, "messages[0]", "invalid_request"),
        (CHAT, {"messages": HELLO * 4097}, "messages", "invalid_request"),
    ],
)
def test_bad_values_are_named(
    server: Running, path: str, body: Any, param: str | None, code: str | None
):
    answer = server.post(path, body)
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert "Fix: " in error["message"]
    assert param in (None, error["param"])
    assert code in (None, error["code"])


def test_null_means_not_given_and_unknown_fields_pass(server: Running):
    names = ("suffix", "max_tokens", "temperature", "top_p", "n", "best_of", "stream", "stop")
    names += ("stream_options", "logprobs", "echo", "seed", "logit_bias", "user", "top_k", "model")
    body = {"prompt": "x", "reasoning_effort": "high", **dict.fromkeys(names)}
    assert server.post(COMPLETION, body).status_code == 200


def test_too_long_a_prompt_is_refused_before_the_stream(server: Running, tiny_coder: Any):
    long = [1] * (tiny_coder.context + 1)
    for stream in (False, True):
        answer = server.post(COMPLETION, {"prompt": long, "stream": stream})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    messages = [{"role": "user", "content": "word " * tiny_coder.context}]
    error = server.post(CHAT, {"messages": messages}).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b'{"prompt": "x"', 400, "invalid_json"),
        (b'{"prompt": "\xff\xfe"}', 400, "invalid_request"),
        (b'{"prompt": "\\ud800"}', 400, "invalid_request"),
        (b'{"prompt": "x", "temperature": NaN}', 400, "invalid_request"),
        (b"[1, 2]", 400, "invalid_request"),
        (b"", 400, "invalid_request"),
        (b"[" * 100_000, 400, "invalid_request"),
        (b'{"prompt": ' + b"9" * 5000 + b"}", 400, "invalid_request"),
        (b'{"prompt": "' + b"x" * 200_000 + b'"}', 413, "body_too_large"),
    ],
)
def test_bad_bodies_get_openai_errors(tiny_coder: Any, raw: bytes, status: int, code: str):
    with Running(tiny_coder, max_body=150_000) as server:
        for body in (raw, iter([raw[:40], raw[40:]])):  # the second comes without a length
            answer = httpx.post(
                server.url + COMPLETION, content=body, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_another_site_cannot_post(server: Running):
    """A browser lets any page send plain text anywhere; JSON it must ask leave for."""
    body = b'{"prompt": "x", "max_tokens": 1}'
    assert httpx.post(server.url + COMPLETION, content=body).status_code == 200  # a bare curl -d
    foreign = {"Origin": "http://example.com", "Content-Type": "text/plain"}
    answer = httpx.post(server.url + COMPLETION, content=body, headers=foreign)
    assert answer.status_code == 400
    assert "content-type" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", COMPLETION, 405, "method_not_allowed"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
    ],
)
def test_wrong_routes(server: Running, method: str, path: str, status: int, code: str):
    answer = httpx.request(method, server.url + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/openapi.json"])
def test_head_is_get_without_the_body(server: Running, path: str):
    head, get = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]
    assert httpx.head(server.url + COMPLETION).status_code == 405
    assert httpx.head(server.url + "/none").status_code == 404


def test_a_model_that_cannot_fill_names_the_suffix(tiny_coder: Any):
    class Plain(Slow):
        tokenizer = SimpleNamespace(fim=None)

        def encode_fill(self, prefix: str, suffix: str) -> Any:
            return encode_fim(self.tokenizer, prefix, suffix)  # type: ignore[arg-type]

    with Running(Plain(tiny_coder)) as server:
        answer = server.post(COMPLETION, {"prompt": "x", "suffix": ""})
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert (error["param"], error["code"]) == ("suffix", "fim_not_supported")
        assert "Fix: send no suffix, or serve a model that can fill" in error["message"]
        assert server.post(COMPLETION, {"prompt": "x"}).status_code == 200


def test_warnings_travel_in_a_header(server: Running):
    answer = server.post(COMPLETION, {"prompt": "<|fim_begin|>a<|fim_hole|>b<|fim_end|>"})
    assert answer.status_code == 200
    assert answer.headers["x-midfill-warning"].isascii()


def test_a_message_nested_too_deeply_is_refused(server: Running):
    """JSON's reader takes more levels than what comes behind it."""
    answers = []
    for depth in range(100, 1200, 100):
        deep = "[" * depth + "]" * depth
        raw = '{"messages": [{"role": "user", "content": "x", "y": ' + deep + '}], "max_tokens": 1}'
        answers.append(httpx.post(server.url + CHAT, content=raw))
    assert {answer.status_code for answer in answers} == {200, 400}
    assert "messages" in {answer.json()["error"]["param"] for answer in answers if answer.is_error}


@pytest.mark.parametrize("suffix", [None, ""])
def test_a_default_length_is_cut_to_the_room_and_an_explicit_one_refused(
    server: Running, tiny_coder: Any, suffix: str | None
):
    short = len(tiny_coder.encode_fill("", "").ids) if suffix == "" else 1
    text = "#" * (tiny_coder.context - 5 - short)
    body = {"prompt": [text, "x"], "suffix": suffix, "ignore_eos": True}
    cut = server.post(COMPLETION, body).json()
    assert cut["usage"]["completion_tokens"] == 2 * 5
    assert {choice["finish_reason"] for choice in cut["choices"]} == {"length"}
    error = server.post(COMPLETION, {**body, "max_tokens": 6}).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "max_tokens")
    error = server.post(COMPLETION, {**body, "prompt": text + 5 * "#"}).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_model_cannot_do_is_said_without_its_folders(tiny_coder: Any, stream: bool):
    broken = TokenizerError(
        "/home/ann/models/m/chat_template.jinja is broken", why="line 3", fix="mend ~/a/b.json"
    )

    class Broken(Slow):
        def encode_chat(self, messages: Any) -> Any:
            raise broken

        def _paused(self, pieces: Iterator[Any]) -> Iterator[Any]:
            yield next(pieces)
            raise broken

    with Running(Broken(tiny_coder)) as server:
        for path, ask in ((CHAT, {"messages": HELLO}), (COMPLETION, {"prompt": "x"})):
            answer = server.post(path, {**ask, "stream": stream, "ignore_eos": True})
            in_stream = stream and path == COMPLETION
            assert answer.status_code == (200 if in_stream else 500)
            if in_stream:
                assert answer.text.endswith("data: [DONE]\n\n")
            raw = answer.text.split("\n\n")[-3][6:] if in_stream else answer.text
            assert json.loads(raw)["error"] == {
                "message": "chat_template.jinja is broken: line 3. Fix: mend b.json.",
                "type": "server_error",
                "param": None,
                "code": "model_error",
            }


def test_a_broken_chat_template_is_the_models_fault(tiny_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_folder, tmp_path / "broken")
    (folder / "chat_template.jinja").write_text("{% if %}")
    with Running(midfill.load(folder, dtype="float32", device="cpu")) as server:
        answer = server.post(CHAT, {"messages": HELLO})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (500, "model_error")
        assert "the chat template cannot be read: " in error["message"]
        assert "(line 1). Fix: correct chat_template.jinja" in error["message"]
        assert str(tmp_path) not in error["message"]
        assert server.post(COMPLETION, {"prompt": "x"}).status_code == 200


def test_every_request_leaves_one_line_of_numbers(
    tiny_coder: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "midfill.server")
    text = "secret"
    ask = {"prompt": text, "max_tokens": 4, "ignore_eos": True}
    with Running(tiny_coder) as server:
        for body in (ask, {**ask, "stream": True}, {**ask, "max_tokens": 10**6}, {"prompt": {}}):
            server.post(COMPLETION, body, headers={"X-Request-Id": "r7"})
        httpx.get(server.url + "/v1/%0a%1b")
        httpx.get(server.url + "/health")
    lines = [re.sub(r"[\d.]+s$", "Ns", record.getMessage()) for record in caplog.records]
    read = f"prompt={len(tiny_coder.encode_prompt(text).ids)}"
    route = f"r7 POST {COMPLETION}"
    assert lines[:4] == [
        f"{route} 200 {read} completion=4 finish=length Ns",
        f"{route} 200 {read} completion=4 finish=length Ns",
        f"{route} 400 {read} completion=0 finish=context_length_exceeded Ns",
        f"{route} 400 prompt=0 completion=0 finish=invalid_request Ns",
    ]
    (unknown,) = lines[4:]
    assert "GET /v1/\\n\\x1b 404 " in unknown


def test_one_who_leaves_is_logged_as_cancelled(tiny_coder: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "midfill.server")
    body = {"prompt": "x", "max_tokens": 200, "ignore_eos": True, "stream": True}
    with Running(Slow(tiny_coder)) as server:
        with httpx.stream("POST", server.url + COMPLETION, json=body) as stream:
            next(stream.iter_lines())
        assert eventually(lambda: "finish=cancelled" in caplog.text)


def test_no_line_when_none_is_wanted(tiny_coder: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "midfill.server")
    with Running(tiny_coder, log_requests=False) as server:
        assert server.post(COMPLETION, {"prompt": "x"}).status_code == 200
    assert caplog.text == ""


# ---- doors ---------------------------------------------------------------------------------------


def test_keys_are_asked_for(tiny_coder: Any):
    with Running(tiny_coder, api_keys=("alpha", "beta")) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic alpha"}):
            answer = server.post(COMPLETION, {"prompt": "x"}, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        for headers in ({"Authorization": "Bearer beta"}, {"api-key": "alpha"}):
            answer = server.post(COMPLETION, {"prompt": "x"}, headers=headers)
            assert answer.status_code == 200
        assert httpx.get(server.url + "/health").status_code == 200
        assert httpx.get(server.url + "/").status_code == 200
        with pytest.raises(openai.AuthenticationError), server.client() as client:
            client.models.list()


def test_a_page_under_another_name_is_turned_away(server: Running):
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:80", 200)):
        assert httpx.get(server.url + "/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(("header", "status"), [("", 200), ("Host: evil.example\r\n", 403)])
def test_a_client_without_host_is_no_browser(server: Running, header: str, status: int):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(f"GET /health HTTP/1.0\r\n{header}\r\n".encode())
        line = sock.makefile("rb").readline()
    assert line.split()[1] == str(status).encode()


def test_port_in_use_names_another(server: Running):
    with pytest.raises(ResourceError, match=f"port {server.port} is in use") as error:
        listen(ServerConfig(port=server.port))
    assert "--port" in error.value.fix
    assert str(server.port) not in error.value.fix


def test_strangers_need_a_key():
    with pytest.raises(ConfigError, match="no API key"):
        listen(ServerConfig(host="0.0.0.0", port=0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", value) for value in (-1, 65536, "80", True)),
        *(("max_batch", value) for value in (0, -1, 1.5)),
        ("max_queue", -1),
        ("max_body", 0),
        *(("api_keys", value) for value in ("abc", ("",), ("a b",), (" a",), ("é",))),
    ],
)
def test_bad_settings_are_named(name: str, value: Any):
    with pytest.raises(ConfigError) as error:
        ServerConfig(**{name: value})
    assert ("API key" if name == "api_keys" else name) in error.value.what
    assert error.value.why
    assert error.value.fix


def test_page_may_run_only_its_own_script(server: Running):
    answer = httpx.get(server.url + "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert len(answer.content) < 60_000
    assert "innerHTML" not in answer.text
    assert "http://" not in answer.text.replace("http://www.w3", "")


def test_openapi_describes_the_routes(server: Running):
    described = httpx.get(server.url + "/openapi.json").json()
    assert {COMPLETION, CHAT, "/v1/models", "/health"} <= set(described["paths"])


# ---- life: loading, leaving, crowding ------------------------------------------------------------


def test_requests_wait_while_the_model_loads(tiny_coder: Any):
    gate = threading.Event()

    def load() -> Any:
        gate.wait(10)
        return tiny_coder

    with Running(load) as server:
        loading = httpx.get(server.url + "/health")
        assert (loading.status_code, loading.json()["status"]) == (503, "loading")
        threading.Timer(0.2, gate.set).start()
        assert server.post(COMPLETION, {"prompt": "x"}).status_code == 200
        assert httpx.get(server.url + "/health").json() == {"status": "ok"}


def test_a_model_that_does_not_load_is_said(tiny_coder: Any):
    def load() -> Any:
        raise ResourceError("no memory", why="it is full", fix="buy some")

    with Running(load) as server:
        assert eventually(lambda: httpx.get(server.url + "/health").json()["status"] == "failed")
        answer = server.post(COMPLETION, {"prompt": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "load_failed")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_the_engine(tiny_coder: Any, stream: bool):
    coder = Slow(tiny_coder)
    with Running(coder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        body = {"prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": stream}
        connection.request(
            "POST", COMPLETION, json.dumps(body), {"Content-Type": "application/json"}
        )
        assert eventually(lambda: coder.running == 1 and coder.made > 2)
        left = time.monotonic()
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        assert eventually(lambda: coder.running == 0 and server.load == (0, 0), 2)
        assert time.monotonic() - left < 1
        assert coder.made < 100


def test_streams_progress_together(tiny_coder: Any):
    with Running(Slow(tiny_coder, 0.005)) as server:
        order: list[int] = []

        def read(number: int) -> None:
            body = {"prompt": "x", "max_tokens": 40, "ignore_eos": True, "stream": True}
            with httpx.stream("POST", server.url + COMPLETION, json=body, timeout=30) as answer:
                order.extend(number for line in answer.iter_lines() if line.startswith("data: {"))

        threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = [max(at for at, who in enumerate(order) if who == number) for number in range(3)]
        first = [order.index(number) for number in range(3)]
        assert max(first) < min(last)


def test_one_too_many_is_told_at_once(tiny_coder: Any):
    coder = Slow(tiny_coder, 0.05)
    body = {"prompt": "x", "max_tokens": 200, "ignore_eos": True, "stream": True}
    with Running(coder, max_batch=1, max_queue=1) as server, contextlib.ExitStack() as stack:

        def start() -> None:
            stream = httpx.stream("POST", server.url + COMPLETION, json=body, timeout=30)
            stack.enter_context(stream)

        start()
        assert eventually(lambda: server.load == (1, 0))
        start()
        assert eventually(lambda: server.load == (1, 1))
        answer = server.post(COMPLETION, {"prompt": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        with pytest.raises(openai.RateLimitError), server.client() as client:
            client.completions.create(model="", prompt="x")
        stack.close()  # both leave, the one that waited too
        assert eventually(lambda: server.load == (0, 0))
