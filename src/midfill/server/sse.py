"""Server-sent events: data lines, comments while waiting, and an end that always comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
SILENCE = 10.0  # seconds without an event after which a comment is sent
STALL = 60.0  # seconds a reader may take none of our bytes before it is given up


def event(body: Mapping[str, Any]) -> bytes:
    """Return `body` as one event; ASCII only, because some clients split at U+2028."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


async def events(
    chunks: AsyncIterator[Mapping[str, Any]],
    on_error: Callable[[Exception], Mapping[str, Any]],
    silence: float = SILENCE,
) -> AsyncIterator[bytes]:
    """Yield `chunks` as events; always ends with [DONE], also after an error, which is one too."""
    try:
        async for item in _with_pauses(chunks, silence):
            yield KEEP_ALIVE if item is None else event(item)
    except Exception as error:  # the status line is gone, so the stream must say it
        yield event(on_error(error))
    yield DONE


async def _with_pauses(
    chunks: AsyncIterator[Mapping[str, Any]], silence: float
) -> AsyncIterator[Mapping[str, Any] | None]:
    """Yield the chunks, and None whenever `silence` seconds passed without one."""
    while True:
        coming = asyncio.ensure_future(anext(chunks))
        try:
            while not (await asyncio.wait({coming}, timeout=silence))[0]:
                yield None
            yield coming.result()
        except StopAsyncIteration:
            return
        finally:
            coming.cancel()


class EventStream(StreamingResponse):
    """An SSE response that calls `on_close` when it ends, whoever ended it."""

    media_type = "text/event-stream"

    def __init__(
        self,
        content: AsyncIterator[bytes],
        *,
        on_close: Callable[[], None],
        headers: Mapping[str, str],
    ) -> None:
        fixed = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, headers={**headers, **fixed})
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; a reader that is gone or takes nothing ends them quietly."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALL):
                await send(message)

        try:
            with suppress(TimeoutError):
                await super().__call__(scope, receive, send_in_time)
        finally:
            self._on_close()


async def call_when_gone(
    receive: Callable[[], Awaitable[Message]], then: Callable[[], None]
) -> None:
    """Call `then` once the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    then()
