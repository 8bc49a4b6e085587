"""One line in the log for every request."""

import logging
import re
from typing import Any

import httpx
import pytest

from running_server import COMPLETION, Running, Slow, eventually


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
