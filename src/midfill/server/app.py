"""The application: routes are thin, `work` and `openai` translate, `worker` runs the engine."""

import asyncio
import difflib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

import midfill
from midfill.config.server import ServerConfig
from midfill.engine.results import Piece
from midfill.errors import RequestError, UserError
from midfill.server import openai, page, sse
from midfill.server.guard import Guard, error_response, http_error
from midfill.server.record import Record
from midfill.server.schema import ChatRequest, CompletionRequest
from midfill.server.work import start
from midfill.server.worker import Job, Worker

if TYPE_CHECKING:
    from midfill.engine.text import Coder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Models:
    """The one or two models that are served."""

    coder: "Coder"
    chat: "Coder"
    since: int = field(default_factory=lambda: int(time.time()))

    @property
    def each(self) -> "list[Coder]":
        """Every model once."""
        return [self.coder] if self.chat is self.coder else [self.coder, self.chat]

    def named(self, name: str | None, default: "Coder") -> "Coder":
        """Return the model `name`, `default` when none was asked for; 404 for another's name."""
        if name in (None, "", "default"):
            return default
        for model in self.each:
            if name in (model.name, PurePath(model.name).name):
                return model
        raise _unknown_model(str(name), [model.name for model in self.each])

    def entry(self, model: "Coder") -> dict[str, Any]:
        """Return what /v1/models says about `model`."""
        return {
            "id": model.name,
            "object": "model",
            "created": self.since,
            "owned_by": "midfill",
            "context_length": model.context,
            "fim": model.can_fill,
            "chat": model.tokenizer.chat_template is not None,
        }


class Desk:
    """Everything the routes share: the models, once they are loaded, and the engine thread."""

    def __init__(
        self,
        coder: "Coder | Callable[[], Coder]",
        config: ServerConfig,
        chat_coder: "Coder | Callable[[], Coder] | None",
    ) -> None:
        self.config = config
        self.worker = Worker(max_batch=config.max_batch, max_queue=config.max_queue)
        self._sources = (coder, chat_coder)
        self._loaded: asyncio.Future[Models] = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        """Start the engine thread, and load the models in another, so that the socket is up."""
        self.worker.start()
        threading.Thread(
            target=self._load, args=(asyncio.get_running_loop(),), name="loader", daemon=True
        ).start()

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            coder, chat = (load() if callable(load) else load for load in self._sources)
            assert coder is not None
            models = Models(coder, chat or coder)
            for model in models.each:
                model.scheduler.max_running = self.config.max_batch
        except Exception as error:
            if not isinstance(error, UserError):
                log.exception("the model could not be loaded")
            failed = _load_failed()
            loop.call_soon_threadsafe(self._loaded.set_exception, failed)
            loop.call_soon_threadsafe(self._loaded.exception)  # read, so that asyncio is content
        else:
            loop.call_soon_threadsafe(self._loaded.set_result, models)

    @property
    def status(self) -> str:
        """`loading`, `ok` or `failed`."""
        if not self._loaded.done():
            return "loading"
        return "failed" if self._loaded.exception() else "ok"

    async def models(self) -> Models:
        """Return the models, waiting while they load."""
        return await asyncio.shield(self._loaded)  # a request that leaves must not cancel it

    async def answer(
        self, request: Request, coder: "Coder", dialect: openai.Dialect, *, stream: bool
    ) -> Response:
        """Run the work of `dialect` and return its stream or its body; stop when the client left."""
        work = dialect.tally.work
        record = Record.of(request)
        record.tally = dialect.tally
        try:
            pieces = await run_in_threadpool(start, coder, work)
            job = self.worker.submit(pieces, urgent=work.urgent)
        except RequestError as error:
            if error.param == "prompt":  # what the engine calls it
                error.param = dialect.input
            raise
        headers = _warning_header(work.warnings)
        if stream:
            content = sse.events(
                _chunks(job, dialect), lambda error: openai.error_body(record.failed(error))
            )
            return sse.EventStream(content, on_close=job.cancel, headers=headers)
        watch = asyncio.create_task(sse.call_when_gone(request.receive, job.cancel))
        try:
            async for piece in job:
                dialect.tally.add(piece)
        finally:
            watch.cancel()
            job.cancel()
        return JSONResponse(dialect.body(), headers=headers)


def create_app(
    coder: "Coder | Callable[[], Coder]",
    config: ServerConfig,
    *,
    chat_coder: "Coder | Callable[[], Coder] | None" = None,
) -> FastAPI:
    """Return the application for a model, or for a function that loads it once the socket is up.

    `chat_coder` answers chats when given; `coder` everything else.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.desk = desk = Desk(coder, config, chat_coder)
        desk.open()
        yield
        desk.worker.stop()

    app = FastAPI(
        title="midfill",
        version=midfill.__version__,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from a CDN
        redoc_url=None,
    )
    app.add_middleware(Guard, config=config)
    _add_errors(app, config)
    _add_generation(app)
    _add_information(app)
    return app


def _add_generation(app: FastAPI) -> None:
    @app.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Response:
        """Continue a prompt, or fill the hole between prompt and suffix."""
        desk: Desk = app.state.desk
        models = await desk.models()
        coder = models.named(body.model, models.coder)
        work = await run_in_threadpool(openai.completion_work, coder, body)
        dialect = openai.CompletionDialect(
            work, logprobs=body.logprobs is not None, include_usage=body.include_usage
        )
        return await desk.answer(request, coder, dialect, stream=bool(body.stream))

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Answer a conversation."""
        desk: Desk = app.state.desk
        models = await desk.models()
        coder = models.named(body.model, models.chat)
        work = await run_in_threadpool(openai.chat_work, coder, body)
        dialect = openai.ChatDialect(
            work, logprobs=bool(body.logprobs), include_usage=body.include_usage
        )
        return await desk.answer(request, coder, dialect, stream=bool(body.stream))


def _add_information(app: FastAPI) -> None:
    @app.get("/v1/models")
    async def list_models() -> JSONResponse:
        """List what is served."""
        models = await app.state.desk.models()
        entries = [models.entry(model) for model in models.each]
        return JSONResponse({"object": "list", "data": entries})

    @app.get("/v1/models/{name:path}")
    async def show_model(name: str) -> JSONResponse:
        """Describe one model."""
        models = await app.state.desk.models()
        return JSONResponse(models.entry(models.named(name, models.coder)))

    @app.get("/health")
    async def health() -> JSONResponse:
        """Say whether the model is loaded."""
        status = app.state.desk.status
        if status == "ok":
            return JSONResponse({"status": status})
        error = {"code": 503, "message": f"model {status}", "type": "unavailable_error"}
        return JSONResponse({"status": status, "error": error}, 503, headers={"Retry-After": "1"})

    html, policy = page.load()
    fixed = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return Response(html, media_type="text/html", headers=fixed)


def _add_errors(app: FastAPI, config: ServerConfig) -> None:
    def answer(request: Request, error: Exception) -> Response:
        return error_response(Record.of(request).failed(error))

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> Response:
        return answer(request, error)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        return answer(request, http_error(error.status_code, config.max_body))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(request, _invalid_body(request, error.errors()))


async def _chunks(job: Job[Piece], dialect: openai.Dialect) -> AsyncIterator[Any]:
    """Yield the chunks of a stream as the engine makes its pieces."""
    async for piece in job:
        chunk = dialect.chunk(piece)
        if chunk is not None:
            yield chunk
    last = dialect.last_chunk()
    if last is not None:
        yield last


def _invalid_body(request: Request, errors: Sequence[Any]) -> RequestError:
    """Build the error for a body that is no JSON object, or has a field of the wrong kind."""
    first = errors[0]
    where = first["loc"][1:]
    if first["type"] == "json_invalid":
        return RequestError(
            "the body is not valid JSON",
            why=f"{first['ctx']['error']} at character {where[0]}",
            fix="send one JSON object",
            code="invalid_json",
        )
    if not where:
        kind = request.headers.get("content-type", "").partition(";")[0]
        return RequestError(
            "the body is not a JSON object",
            why="its content-type is not application/json"
            if kind != "application/json"
            else "it is empty, or another kind of JSON",
            fix="send one JSON object, with the header Content-Type: application/json",
        )
    path = _path(where)
    if first["type"] == "missing":
        return RequestError(f"{path} is missing", why="it is required", fix="add it", param=path)
    alike = (error["msg"] for error in errors if error["loc"][1:2] == where[:1])
    reasons = [text.removeprefix("Value error, ") for text in dict.fromkeys(alike)]
    return RequestError(
        f"{path} is not valid", why=" or ".join(reasons[:4]), fix=f"correct {path}", param=path
    )


def _path(where: Sequence[str | int]) -> str:
    """Return `messages[0].content` for a location, without pydantic's names of union members."""
    path = str(where[0])
    for step in where[1:]:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in ("str", "int", "float", "bool"):
            path += f".{step}"
        else:
            break
    return path


def _unknown_model(name: str, served: list[str]) -> RequestError:
    near = difflib.get_close_matches(name, served, n=1, cutoff=0.3) or served[:1]
    return RequestError(
        f"there is no model {name[:100]!r} here",
        why=f"served: {', '.join(served)}",
        fix=f"use {near[0]!r}, or leave model out",
        param="model",
        code="model_not_found",
        status=404,
    )


def _load_failed() -> RequestError:
    return RequestError(
        "the model could not be loaded",
        why="the server's own output says more",
        fix="start the server again with a model that loads",
        code="load_failed",
        status=503,
    )


def _warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """Return the header that carries `warnings`, escaped to ASCII on one line."""
    if not warnings:
        return {}
    return {"X-Midfill-Warning": json.dumps(" | ".join(warnings))[1:-1][:2000]}
