"""Starting and stopping: the port first, then the socket, then the model, then the word."""

import asyncio
import errno
import json
import logging
import shlex
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from midfill.config.server import ServerConfig
from midfill.errors import ConfigError, ResourceError, UserError
from midfill.server.app import create_app
from midfill.server.guard import is_loopback

if TYPE_CHECKING:
    from midfill.engine.text import Coder

GRACE = 10.0  # seconds that running answers get after SIGINT or SIGTERM


def serve(
    loader: "Callable[[], Coder]",
    config: ServerConfig,
    *,
    announce: Callable[[str], None],
    chat_loader: "Callable[[], Coder] | None" = None,
) -> None:
    """Serve until SIGINT or SIGTERM; `announce` gets the URL and a curl line once all is ready.

    Raises ConfigError or ResourceError when the address cannot be used, TokenizerError when a model
    has no tokenizer, and whatever the loaders raise.
    """
    sock = listen(config)
    failures: list[BaseException] = []
    loaded: list[Coder] = []

    def load(read: "Callable[[], Coder]", *, last: bool) -> "Coder":
        try:
            loaded.append(coder := read())
            _ = coder.tokenizer  # raises for a model without one: it could answer no request
            if last:
                announce(greeting(loaded, config, sock.getsockname()[1]))
        except BaseException as error:
            failures.append(error)
            server.should_exit = True
            raise
        return coder

    app = create_app(
        lambda: load(loader, last=chat_loader is None),
        config,
        chat_coder=(lambda: load(chat_loader, last=True)) if chat_loader else None,
    )
    server = Server(app)
    try:
        with request_log(config):
            server.run(sockets=[sock])
    finally:
        sock.close()
    if failures:
        raise failures[0]


class Server(uvicorn.Server):
    """Uvicorn that lets running answers finish, ends the others with an error, and then returns."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=round(GRACE) + 2,  # the last chunks need a moment
            )
        )
        self._app = app
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second signal ends the running answers, the third does not wait at all.

        Uvicorn's own would raise the signal again and end the caller with it.
        """
        self._signals += 1
        if self._signals == 2:
            self._app.state.desk.worker.end_all()
        if self._signals > 2:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # no tracebacks
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, then wait for the answers that are running."""
        draining = asyncio.create_task(self._app.state.desk.worker.drain(GRACE))
        await super().shutdown(sockets)
        draining.cancel()


def listen(config: ServerConfig) -> socket.socket:
    """Return a socket that listens where `config` says, or an error that says what to change."""
    if not config.api_keys and not is_loopback(config.host):
        raise ConfigError(
            f"{config.host} can be reached by others, and no API key is set",
            why="anybody on the network could use this server",
            fix="set a key, or use --host 127.0.0.1",
        )
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    except (OSError, OverflowError) as error:
        raise _bad_host(config) from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(128)  # from here on connections wait instead of being refused
    except (OSError, OverflowError) as error:
        sock.close()
        raise _cannot_bind(config, error) from error
    return sock


@contextmanager
def request_log(config: ServerConfig) -> Iterator[None]:
    """Write a line per request on stderr while this lasts, if `config` wants it."""
    if not config.log_requests:
        yield
        return
    logger, handler = logging.getLogger("midfill.server"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def greeting(coders: "Sequence[Coder]", config: ServerConfig, port: int) -> str:
    """Return the lines that say where the server is and how to try it; the last model chats."""
    shown = f"[{config.host}]" if ":" in config.host else config.host
    url = f"http://{shown}:{port}"
    if coders[-1].tokenizer.chat_template is not None:
        path, body = (
            "chat/completions",
            {
                "messages": [
                    {"role": "user", "content": "Write a function that adds two numbers."}
                ],
                "max_tokens": 128,
                "temperature": 0,
            },
        )
    else:
        path, body = (
            "completions",
            {"prompt": "def add(a, b):\n", "max_tokens": 32, "temperature": 0},
        )
    key = '-H "Authorization: Bearer $MIDFILL_API_KEY" ' if config.api_keys else ""
    header = "-H 'Content-Type: application/json'"
    curl = f"curl -s {url}/v1/{path} {header} {key}-d {shlex.quote(json.dumps(body))}"
    if len(coders) == 1:
        return f"{coders[0].name} is ready at {url}\n{curl}"
    return f"{coders[0].name}, and {coders[-1].name} for chat, are ready at {url}\n{curl}"


def _bad_host(config: ServerConfig) -> UserError:
    return ConfigError(
        f"{config.host!r} is no address to listen on",
        why="it does not name this machine",
        fix="use --host 127.0.0.1",
    )


def _cannot_bind(config: ServerConfig, error: Exception) -> UserError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return ResourceError(
            f"port {config.port} is in use",
            why="another program, perhaps another midfill, listens on it",
            fix=f"use --port {_free_port(config.host)}, or stop the other program",
        )
    if number == errno.EACCES:
        return ResourceError(
            f"port {config.port} may not be used",
            why="ports below 1024 belong to the administrator",
            fix=f"use --port {_free_port(config.host)}",
        )
    return _bad_host(config)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])
