"""Random bodies and impatient clients: never a 500, never an answer without the error's form."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import uvicorn

from midfill.config.server import ServerConfig
from midfill.server import create_app
from midfill.server.run import listen
from midfill.server.sse import STALL

PATIENCE_S = 30

FIELDS = (
    *("model", "prompt", "suffix", "max_tokens", "temperature", "top_p", "top_k", "min_p", "n"),
    *("best_of", "stream", "stream_options", "logprobs", "top_logprobs", "echo", "stop", "seed"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "messages"),
    *("tools", "tool_choice", "response_format", "max_completion_tokens", "ignore_eos", "user"),
)
TEXTS = (
    "",
    "x",
    "\0",
    "\ud800",
    "é\u2028",
    "<｜fim▁begin｜>",
    "<|fim_begin|>",
    "user",
    "text",
    "9",
)
NUMBERS = (0, 1, -1, 2, 0.5, 1e308, -0.0, 2**31, 2**63, 10**400, float("nan"), float("inf"))


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value of any kind, sometimes of the kind that a field wants."""
    kind = chance.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return chance.choice(TEXTS)
    if kind < 4:
        return chance.choice(NUMBERS)
    if kind == 4:
        return chance.choice((None, True, False))
    if kind < 7:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    keys = ("role", "content", "type", "text", "prefix", "include_usage", "7", "x")
    return {chance.choice(keys): anything(chance, depth + 1) for _ in range(chance.randrange(4))}


def body(chance: random.Random) -> dict[str, Any]:
    """A request that is fine but for a few fields."""
    fine = {
        "prompt": "x",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": chance.randrange(4),
    }
    wrong = chance.sample(FIELDS, chance.randrange(1, 4))
    return fine | {name: anything(chance) for name in wrong}


@pytest.fixture(scope="module")
def app(tiny_coder: Any) -> Iterator[Any]:
    """The application of a running server; `.url` is where."""
    config = ServerConfig(port=0)
    sock = listen(config)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # the kernel must not read for them
    made = create_app(tiny_coder, config)
    made.state.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(made, log_level="error"))
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield made
    server.should_exit = True
    thread.join()
    sock.close()


def test_random_bodies_never_break_the_server(app: Any):
    chance = random.Random(20)
    seen: dict[int, int] = {}
    with httpx.Client(base_url=app.state.url, timeout=30) as client:
        for number in range(600):
            path = ("/v1/completions", "/v1/chat/completions")[number % 2]
            sent = json.dumps(body(chance)).encode()
            answer = client.post(path, content=sent, headers={"Content-Type": "application/json"})
            seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
            assert answer.status_code in (200, 400, 404), (sent, answer.text)
            if answer.status_code != 200:
                error = answer.json()["error"]
                assert error["message"], sent
                assert error["type"] == "invalid_request_error", sent
            assert '"code":"internal"' not in answer.text, sent
    assert min(seen[200], seen[400]) > 50, seen


def test_clients_that_leave_at_any_moment_leave_nothing_behind(app: Any):
    chance = random.Random(21)
    ask = {"prompt": "x", "max_tokens": 300, "ignore_eos": True}

    async def one(client: httpx.AsyncClient) -> None:
        sent = ask | {"stream": chance.random() < 0.5, "n": chance.randrange(1, 3)}
        try:
            async with asyncio.timeout(chance.random() * 0.2):
                await client.post("/v1/completions", json=sent)
        except TimeoutError:
            pass

    async def crowd() -> None:
        async with httpx.AsyncClient(base_url=app.state.url, timeout=30) as client:
            await asyncio.gather(*(one(client) for _ in range(60)))

    asyncio.run(crowd())
    deadline = time.monotonic() + 5
    while app.state.desk.worker.load != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert app.state.desk.worker.load == (0, 0)
    assert httpx.post(app.state.url + "/v1/completions", json={"prompt": "x"}).status_code == 200


def test_readers_that_do_not_read_stop_nobody_else(app: Any):
    host, port = app.state.url.removeprefix("http://").split(":")
    ask = {"prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": True, "logprobs": 20}
    content = json.dumps(ask).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    worker, count = app.state.desk.worker, app.state.desk.config.max_batch + 2
    with ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((host, int(port)))
            sock.sendall(head.encode() + content)
        deadline = time.monotonic() + 40
        while not all_paused(worker, count) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert all_paused(worker, count), worker.load
        # Stalled readers are dropped after sse.STALL: whoever waits for that runs into the time-out.
        assert STALL >= 2 * PATIENCE_S
        plain = {"prompt": "x"}
        answer = httpx.post(app.state.url + "/v1/completions", json=plain, timeout=PATIENCE_S)
        assert answer.status_code == 200
        assert len(worker._all()) == count  # none of them was dropped to make room
    deadline = time.monotonic() + 5
    while worker.load != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.load == (0, 0)


def all_paused(worker: Any, count: int) -> bool:
    jobs = worker._all()
    return len(jobs) == count and all(job.paused for job in jobs)
