"""Standard streams that are closed or full: a lost result is an error, a lost note is not."""

import errno
import io
import os
import sys
from typing import Any

from midfill.errors import ResourceError


class OutputRefusedError(OSError):
    """What stdout's file answers when it takes no more."""


def prepare() -> None:
    """Make stdout raise OutputRefusedError where its file takes no more, and stderr never raise.

    Something is put behind every closed stream, so that no file opened later takes its number. A
    closed stdin stays None.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None and not _is_open(number):  # the lowest free number is taken
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if _is_plain(sys.stdout, sys.__stdout__):
        sys.stdout = _text(_Result(1, "w", closefd=False), sys.stdout, "replace")
    if _is_plain(sys.stderr, sys.__stderr__):
        sys.stderr = _text(_Notes(2, "w", closefd=False), sys.stderr, "backslashreplace")


def refused(problem: OutputRefusedError) -> ResourceError:
    """The user's error for it."""
    closed = problem.errno == errno.EBADF
    return ResourceError(
        "the output cannot be written",
        why="it is closed" if closed else problem.strerror or str(problem),
        fix="leave out >&-" if closed else "send it to a file on a disk with room",
    )


def silence(out: Any) -> None:
    """Let everything `out` still holds go nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, out.fileno())
    os.close(sink)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _is_plain(stream: Any, original: Any) -> bool:
    """Whether this is Python's own stream on a file, a pipe or a terminal, or is closed."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves the buffer out
    return stream is original and (stream is None or type(raw) is io.FileIO)


def _text(raw: io.FileIO, like: Any, errors: str) -> io.TextIOWrapper:
    encoding = "utf-8" if like is None else like.encoding
    lines = raw.fileno() == 2 or (like is not None and (like.line_buffering or like.write_through))
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=lines
    )


class _Result(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise OutputRefusedError(problem.errno, problem.strerror) from None


class _Notes(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
