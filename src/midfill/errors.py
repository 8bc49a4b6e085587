"""Errors a user can cause: what happened, why, and how to mend it.

    UserError
    ├── ConfigError       an option, a recipe or a config.json that cannot be honoured
    ├── CheckpointError   a model on disk that is damaged, incomplete or not supported
    ├── TokenizerError    a vocabulary or a chat template that is missing or not supported
    ├── DownloadError     a model that could not be found, fetched or verified
    ├── ResourceError     this machine lacks the memory, the disk, the port or the package
    ├── CorpusError       sources that cannot be read
    ├── TrainError        a run that cannot go on
    ├── SandboxError      a program that cannot be run safely
    └── RequestError      a request the engine or the server refuses (carries an HTTP status)

Everything else that is raised is a bug and keeps its traceback.
"""

from typing import Any


class UserError(Exception):
    """A mistake the user can mend; the command line prints it as three lines and exits with 2."""

    def __init__(self, what: str, *, why: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        """As it travels between processes: keyword arguments would be lost."""
        return _again, (type(self), self.what, self.why, self.fix, self.__dict__)

    def __str__(self) -> str:
        return f"{self.what}\n  why: {self.why}\n  fix: {self.fix}"


def _again(kind: type[UserError], what: str, why: str, fix: str, more: dict[str, Any]) -> UserError:
    """The error on the other side of a pipe."""
    error = kind(what, why=why, fix=fix)
    error.__dict__.update(more)
    return error


class ConfigError(UserError):
    """An option, recipe or configuration file that cannot be honoured."""


class CheckpointError(UserError):
    """A model on disk that is damaged, incomplete or not supported."""


class TokenizerError(UserError):
    """A vocabulary or chat template that is missing or not supported."""


class DownloadError(UserError):
    """A model that could not be found, fetched or verified."""


class ResourceError(UserError):
    """This machine lacks what is asked: memory, disk, a free port, an optional package."""


class CorpusError(UserError):
    """Sources that cannot be read."""


class TrainError(UserError):
    """A training run that cannot go on: its numbers are none, or its data changed."""


class SandboxError(UserError):
    """A program that cannot be run safely here."""


class RequestError(UserError):
    """A request the engine or the server refuses.

    `code` is the machine-readable reason (`invalid_request`, `context_length_exceeded`, ...),
    `param` names the offending field, `status` is the HTTP status the server answers with.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str,
        fix: str,
        param: str | None = None,
        code: str = "invalid_request",
        status: int = 400,
    ) -> None:
        super().__init__(what, why=why, fix=fix)
        self.param = param
        self.code = code
        self.status = status
