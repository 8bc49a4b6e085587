"""`math-verify` in a process of its own: sympy can take for ever, or all memory, over one answer.

One process serves all threads, one question a line of JSON, and is replaced when it ends or has no
answer in time. That, and an exception of the library, says nothing about an answer: it is a fault,
and never a wrong answer. An answer that is no mathematics is a wrong one.
"""

import contextlib
import importlib.util
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from midfill.errors import ResourceError

STARTING_S = 60.0  # sympy is a large import
MEMORY = 2 << 30  # bytes
WALL = 10  # seconds of the clock for one of processor time, until it is given up all the same
_POLL_S = 0.5
_USED = slice(11, 13)  # user and system time in /proc/PID/stat, behind the name
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class ComparisonFaultError(Exception):
    """Whether two answers are equal cannot be told: the library failed, or took too long."""


class Algebra:
    """Asks the process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def same(self, answer: str, reference: str, *, seconds: float = 5.0) -> bool:
        """Whether math-verify finds the answer equal.

        Raises ComparisonFaultError where it fails, or takes more than `seconds` of processor time;
        ResourceError where it is missing.
        """
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps([answer, reference]) + "\n")
                process.stdin.flush()
                said = self._line(process, seconds)
            except BrokenPipeError:
                said = ""
            if said in ("true", "false"):
                return said == "true"
            self._stop()
        if said is None:
            said = f"it took more than {seconds:g} s"
        raise ComparisonFaultError(f"math-verify cannot compare: {said or 'its process ended'}")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[str]:
        if importlib.util.find_spec("math_verify") is None:
            raise ResourceError(
                "an answer can only be compared with math-verify, which is missing",
                why="it is an expression, not a plain number",
                fix="pip install 'midfill[evaluate]'",
            )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "midfill.evaluate.algebra"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        # On the clock, as an import waits for the disk.
        if self._line(self._process, STARTING_S, wall=1) != "ready":
            self._stop()
            raise ResourceError(
                "math-verify does not start",
                why="its process ended, or said nothing for a minute",
                fix=f"{sys.executable} -m midfill.evaluate.algebra",
            )
        return self._process

    def _line(
        self, process: subprocess.Popen[str], seconds: float, wall: float = WALL
    ) -> str | None:
        """The next line, empty where the process ended; None where none comes in time."""
        assert process.stdout is not None
        deadline = time.monotonic() + seconds * wall
        most = _processor_s(process.pid) + seconds
        while time.monotonic() < deadline and _processor_s(process.pid) <= most:
            readable, _, _ = select.select([process.stdout], [], [], min(_POLL_S, seconds))
            if readable:
                return process.stdout.readline().strip()
        return None

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        self._process.wait()
        self._process = None


def serve() -> None:
    """Answer questions on standard input until it ends."""
    from math_verify import parse, verify  # pyright: ignore[reportMissingImports]

    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    _say("ready")
    for line in sys.stdin:
        answer, reference = json.loads(line)
        try:
            gold, given = (parse(f"${text}$", parsing_timeout=0) for text in (reference, answer))
            found = verify(gold, given, timeout_seconds=0) or verify(
                gold, given, timeout_seconds=0, raise_on_error=True
            )  # again, as the first one takes its own faults for False
        except Exception as fault:  # the border to a library that is fed anything
            _say(f"{type(fault).__name__}: {fault}".replace("\n", " ")[:300])
        else:
            _say(json.dumps(found))


def _processor_s(pid: int) -> float:
    """Processor time that a process has used; 0 where the system does not tell."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return 0.0
    return sum(map(int, said.split()[_USED])) / _TICKS


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
