"""Starting and stopping as the command line does: in the main thread, ended by a signal."""

import json
import os
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from midfill.config.server import ServerConfig
from midfill.engine.text import Coder
from midfill.errors import CheckpointError, ResourceError, TokenizerError
from midfill.server import run, serve

ASK = {"prompt": "x", "max_tokens": 200, "ignore_eos": True, "stream": True}


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Paced:
    """The model, as slow as a large one, so that a signal meets it at work."""

    def __init__(self, coder: Any, pause: float) -> None:
        self._coder, self._pause = coder, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coder, name)

    def generate(self, *args: Any) -> Iterator[Any]:
        return self._paused(self._coder.generate(*args))

    def _paused(self, pieces: Iterator[Any]) -> Iterator[Any]:
        for piece in pieces:
            threading.Event().wait(self._pause)
            yield piece


def serve_and_then(
    coder: Any, port: int, act: Callable[[str], None], chat: Any = None, **options: Any
) -> None:
    """Serve in this thread until `act`, in another, has had its say and the signal came."""
    said: list[BaseException] = []

    def helper(words: str) -> None:
        try:
            act(words)
        except BaseException as error:
            said.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    def announce(words: str) -> None:
        threading.Thread(target=helper, args=(words,)).start()

    chat_loader = None if chat is None else lambda: chat
    config = ServerConfig(port=port, **options)
    serve(lambda: coder, config, announce=announce, chat_loader=chat_loader)
    if said:
        raise said[0]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_how_to_try_it_and_lets_answers_finish(
    tiny_coder: Any, port: int, ending: signal.Signals
):
    seen: list[str] = []

    def act(words: str) -> None:
        first, curl = words.splitlines()
        assert first.startswith(tiny_coder.name)
        assert first.endswith(f"http://127.0.0.1:{port}")
        name, _, url, *_, body = shlex.split(curl)
        assert name == "curl"
        answer = httpx.post(url, json={**json.loads(body), "max_tokens": 4}, timeout=20)
        assert answer.status_code == 200
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/completions", json=ASK) as stream:
            for line in stream.iter_lines():
                if not seen:
                    os.kill(os.getpid(), ending)
                seen.append(line)

    serve_and_then(Paced(tiny_coder, 0.002), port, act)
    assert seen[-2] == "data: [DONE]"
    assert "error" not in seen[-4]
    finishes = [json.loads(line[6:]) for line in seen if line.startswith("data: {")]
    assert finishes[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("signals", [1, 2])
def test_an_answer_that_takes_too_long_ends_with_an_error(
    tiny_coder: Any,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    signals: int,
):
    """After the grace, or at the second signal, which does not wait for it."""
    monkeypatch.setattr(run, "GRACE", 0.3 if signals == 1 else 30)
    seen: list[str] = []

    def act(words: str) -> None:
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/completions", json=ASK) as stream:
            for line in stream.iter_lines():
                if len(seen) in range(0, 2 * signals, 2):  # an empty line follows each event
                    os.kill(os.getpid(), signal.SIGINT)
                seen.append(line)

    serve_and_then(Paced(tiny_coder, 0.05), port, act)
    events = [line for line in seen if line]
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[-2][6:])["error"]["code"] == "shutting_down"
    assert "Traceback" not in capfd.readouterr().err


def test_a_model_that_does_not_load_ends_the_server_with_its_error(port: int):
    def load() -> Any:
        raise CheckpointError("damaged", why="a bit fell over", fix="midfill pull it again")

    with pytest.raises(CheckpointError, match="damaged"):
        serve(load, ServerConfig(port=port), announce=pytest.fail)


def test_a_model_without_tokenizer_ends_the_server_with_its_error(tiny_coder: Any, port: int):
    """Such a model can be loaded, for its logits; it could answer no request."""
    no_tokenizer = TokenizerError("no tokenizer.json", why="it is missing", fix="fetch it")
    silent = Coder("silent", tiny_coder.network, no_tokenizer)
    for coder, chat in ((silent, None), (tiny_coder, silent), (silent, tiny_coder)):
        with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
            serve_and_then(coder, port, pytest.fail, chat)


def test_two_models_are_both_named(tiny_coder: Any, port: int):
    chatty: Any = Paced(tiny_coder, 0)
    chatty.name = "chatty"

    def act(words: str) -> None:
        first, curl = words.splitlines()
        assert first.startswith(f"{tiny_coder.name}, and chatty for chat, ")
        _, _, url, *_, body = shlex.split(curl)
        answer = httpx.post(url, json={**json.loads(body), "max_tokens": 1}, timeout=20).json()
        assert (answer["object"], answer["model"]) == ("chat.completion", "chatty")
        os.kill(os.getpid(), signal.SIGTERM)

    serve_and_then(tiny_coder, port, act, chatty)


@pytest.mark.parametrize("wanted", [True, False])
def test_requests_are_logged_on_stderr(
    tiny_coder: Any, port: int, capfd: pytest.CaptureFixture[str], wanted: bool
):
    def act(words: str) -> None:
        httpx.post(f"http://127.0.0.1:{port}/v1/completions", json={"prompt": "secret"})
        os.kill(os.getpid(), signal.SIGTERM)

    serve_and_then(tiny_coder, port, act, log_requests=wanted)
    out, err = capfd.readouterr()
    assert err.count("POST /v1/completions 200 prompt=") == wanted
    assert "secret" not in err
    assert out == ""


def test_a_taken_port_is_found_before_the_model_is_read(port: int):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ResourceError, match=f"port {port} is in use"):
            serve(pytest.fail, ServerConfig(port=port), announce=pytest.fail)
