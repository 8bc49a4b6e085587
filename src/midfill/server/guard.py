"""What stands before every route: request id, log, host, key, body size, no traceback outside.

Plain ASGI, because Starlette's own middleware base hides disconnects from the routes.
"""

import hmac
import ipaddress
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midfill.config.server import ServerConfig
from midfill.errors import RequestError
from midfill.server.openai import error_body
from midfill.server.record import Record

OPEN_PATHS = ("/health", "/")  # the page holds nothing secret, and is where a person gives the key
DISCARD = 8  # times max_body that is read and thrown away, so that the client sees the 413


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self._app = app
        self._config = config
        self._keys = [key.encode() for key in config.api_keys]
        self._local = is_loopback(config.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or the error that says why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = Record(request_id(headers), scope["method"], scope["path"])
        scope["record"] = record

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = record.id
            await send(message)

        try:
            self._admit(scope["path"], headers)
            limited = await self._limit(headers, receive)
            _take_as_json(scope, headers)
            await self._app(_as_get(scope), limited, send_marked)
        except Exception as error:
            told = record.failed(error)
            if not record.status:
                await error_response(told)(scope, receive, send_marked)
        finally:
            if self._config.log_requests:
                record.write()

    def _admit(self, path: str, headers: Headers) -> None:
        host = headers.get("host")  # only HTTP/1.0 leaves it out, and no browser speaks that
        if self._local and host is not None and not is_loopback(_host_name(host)):
            raise _forbidden_host()
        if self._keys and path not in OPEN_PATHS and not self._knows(_given_key(headers)):
            raise _invalid_key()

    def _knows(self, given: bytes) -> bool:
        """Compare with every key in constant time, without stopping at the first that fits."""
        return any([hmac.compare_digest(given, key) for key in self._keys])

    async def _limit(self, headers: Headers, receive: Receive) -> Receive:
        """Return a `receive` that refuses bodies over the limit, announced or not."""
        limit = self._config.max_body
        announced = headers.get("content-length", "0")
        if announced.isdigit() and int(announced[:20]) > limit:
            if int(announced[:20]) <= DISCARD * limit:
                await _discard(receive, DISCARD * limit)
            raise _too_large(limit)
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                if message.get("more_body", False):
                    await _discard(receive, DISCARD * limit)
                raise HTTPException(413)  # the only kind FastAPI's body reader lets through
            return message

        return limited


def _take_as_json(scope: Scope, headers: Headers) -> None:
    """Read a POST without a JSON content-type as JSON, as a bare `curl -d` means it.

    Not when a browser sends it for another site: such a request needs no permission to leave the
    browser, so it must not reach the model.
    """
    origin = headers.get("origin")
    own = origin is not None and origin.partition("://")[2] == headers.get("host")
    if scope["method"] == "POST" and (origin is None or own):
        MutableHeaders(scope=scope)["content-type"] = "application/json"


def _as_get(scope: Scope) -> Scope:
    """Return a HEAD as the GET it stands for; the HTTP server leaves out the body."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def error_response(error: RequestError) -> JSONResponse:
    """Return the response for `error`, with the headers its status asks for."""
    headers = {}
    if error.status in (429, 503):
        headers["Retry-After"] = "1"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(error), error.status, headers=headers)


def http_error(status: int, limit: int) -> RequestError:
    """Build the error for a status the framework chose."""
    if status == 404:
        return RequestError(
            "there is no such route",
            why="this server speaks GET /v1/models, POST /v1/completions and /v1/chat/completions",
            fix="check the path of the base URL: it ends in /v1",
            code="not_found",
            status=404,
        )
    if status == 405:
        return RequestError(
            "this route has no such method",
            why="it answers another one",
            fix="use POST to generate and GET to list",
            code="method_not_allowed",
            status=405,
        )
    if status == 413:
        return _too_large(limit)
    return RequestError(
        "the body cannot be read",
        why="it is not UTF-8 text that holds a JSON object of sane depth",
        fix="send UTF-8 JSON",
        status=status,
    )


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def request_id(headers: Headers) -> str:
    """Return the client's own id when it is harmless, otherwise a new one."""
    given = headers.get("x-request-id", "")
    return given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex


def _host_name(host: str) -> str:
    """Return a Host header without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _given_key(headers: Headers) -> bytes:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip().encode()
    return headers.get("api-key", "").encode()


async def _discard(receive: Receive, limit: int) -> None:
    """Read the rest of the body, at most `limit` bytes, and forget it."""
    while limit > 0:
        message = await receive()
        limit -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _forbidden_host() -> RequestError:
    return RequestError(
        "this Host is not served",
        why="a server on loopback answers only to localhost, so that no web page can reach it "
        "under another name",
        fix="use http://localhost or http://127.0.0.1",
        code="forbidden_host",
        status=403,
    )


def _invalid_key() -> RequestError:
    return RequestError(
        "the API key is missing or wrong",
        why="this server was started with keys",
        fix="send it as Authorization: Bearer KEY",
        code="invalid_api_key",
        status=401,
    )


def _too_large(limit: int) -> RequestError:
    return RequestError(
        "the request is too large",
        why=f"the body may have {limit} bytes",
        fix="send less text, or several requests",
        code="body_too_large",
        status=413,
    )
