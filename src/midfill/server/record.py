"""What is remembered of one request while it lasts, and the line it leaves in the log."""

import logging
import time
from dataclasses import dataclass, field

from starlette.requests import Request

from midfill.errors import RequestError, UserError
from midfill.server.openai import model_error
from midfill.server.work import Tally

log = logging.getLogger("midfill.server")


@dataclass(slots=True)
class Record:
    """Numbers and names of one request; never its text, nor its answer's."""

    id: str
    method: str
    path: str
    status: int = 0  # 0: nothing was sent, the client left before
    error: str = ""  # the code of what it was refused for, or ended by
    tally: Tally | None = None  # once the model has work
    since: float = field(default_factory=time.perf_counter)

    @staticmethod
    def of(request: Request) -> "Record":
        """Return the record the guard has begun for `request`."""
        return request.scope["record"]

    def failed(self, error: Exception) -> RequestError:
        """Note `error`, and return what the client is told; a bug is logged with its traceback."""
        if isinstance(error, RequestError):
            told = error
        elif isinstance(error, UserError):
            log.error("request %s: %s", self.id, error)
            told = model_error(error)
        else:
            log.error("request %s failed", self.id, exc_info=error)
            told = internal_error()
        self.error = told.code
        return told

    @property
    def finish(self) -> str:
        """How it ended: the reasons of its answers, an error's code, or `cancelled`."""
        if self.error or self.tally is None:
            return self.error or "-"
        choices = self.tally.choices.values()
        reasons = {choice.finish_reason or "cancelled" for choice in choices}
        return ",".join(sorted(reasons)) or "cancelled"

    def write(self) -> None:
        """Log the one line of this request; a successful health check is not worth it."""
        route = self.path[:100].encode("unicode_escape").decode()  # one line, whatever was asked
        usage = self.tally.usage if self.tally else None
        level = logging.DEBUG if (self.path, self.status) == ("/health", 200) else logging.INFO
        log.log(
            level,
            "%s %s %s %d prompt=%d completion=%d finish=%s %.3fs",
            self.id,
            self.method,
            route,
            self.status,
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            self.finish,
            time.perf_counter() - self.since,
        )


def internal_error() -> RequestError:
    """Build the error for a bug: the log has the traceback, the client has the request id."""
    return RequestError(
        "the server failed",
        why="an internal error, logged with this request's id",
        fix="try again; if it stays, report the X-Request-Id",
        code="internal",
        status=500,
    )
