"""Standard streams that are closed or full: a lost result is an error, a lost note is not."""

import errno
import io
import os
import sys
from typing import Any

from midfill.errors import ResourceError


def prepare() -> None:
    """Put something behind every closed stream, so that no file opened later takes its number.

    Writing to a closed stdout fails like writing to a full disk; stderr never fails; a closed
    stdin stays None.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None and not _is_open(number):
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)  # the lowest is taken
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Forgiving(2, "w", closefd=False)),
            encoding=getattr(sys.stderr, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=True,
        )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class _Forgiving(io.FileIO):
    """A file that drops what it cannot take."""

    def write(self, data: Any, /) -> int:
        """Write, or act as if."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def refusal(out: Any) -> ResourceError | None:
    """Why `out` does not take what waits in it; None when it does. Silences it in the first case."""
    try:
        out.flush()
    except OSError as problem:
        silence(out)
        closed = problem.errno == errno.EBADF
        return ResourceError(
            "the output cannot be written",
            why="it is closed" if closed else problem.strerror or str(problem),
            fix="leave out >&-" if closed else "send it to a file on a disk with room",
        )
    return None


def silence(out: Any) -> None:
    """Let everything `out` still holds go nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, out.fileno())
    os.close(sink)
