"""A server's life: loading, clients that leave, crowding."""

import contextlib
import http.client
import json
import socket
import threading
import time
from typing import Any

import httpx
import openai
import pytest

from midfill.errors import ResourceError
from running_server import COMPLETION, Running, Slow, eventually


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
