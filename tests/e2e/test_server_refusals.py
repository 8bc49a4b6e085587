"""What the server refuses: bad values, bad bodies, wrong routes, what a model cannot do."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import midfill
from midfill.errors import TokenizerError
from midfill.tokenizer.fim import encode_fim
from running_server import CHAT, COMPLETION, HELLO, Running, Slow


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
