"""A server in a thread of the tests, over a model that may be slow."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import uvicorn

from midfill.config.server import ServerConfig
from midfill.server import create_app
from midfill.server.run import listen

COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"
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


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not check() and time.monotonic() < deadline:
        time.sleep(0.01)
    return check()
