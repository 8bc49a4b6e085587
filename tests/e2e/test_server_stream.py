"""The stream, byte by byte, and an error in the middle of it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from midfill.errors import RequestError
from running_server import Running, Slow


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
