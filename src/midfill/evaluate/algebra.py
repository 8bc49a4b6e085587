"""`math-verify` in a process of its own: sympy can take for ever, or all memory, over one answer.

One process serves all threads, one question a line of JSON, and is replaced when it does not
answer in time.
"""

import contextlib
import importlib.util
import json
import logging
import select
import subprocess
import sys
import threading

from midfill.errors import ResourceError

STARTING_S = 60.0  # sympy is a large import
MEMORY = 2 << 30  # bytes


class Algebra:
    """Asks the process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def same(self, answer: str, reference: str, *, seconds: float = 5.0) -> bool:
        """Whether math-verify finds the answer equal; False where it takes longer than `seconds`.

        Raises ResourceError where math-verify is missing.
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
            if not said:
                self._stop()
            return said == "true"

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
        if self._line(self._process, STARTING_S) != "ready":
            self._stop()
            raise ResourceError(
                "math-verify does not start",
                why="its process ended, or said nothing for a minute",
                fix=f"{sys.executable} -m midfill.evaluate.algebra",
            )
        return self._process

    def _line(self, process: subprocess.Popen[str], seconds: float) -> str:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline().strip() if readable else ""

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
            found = bool(verify(gold, given, timeout_seconds=0))
        except Exception:  # the border to a library that is fed anything
            found = False
        _say(json.dumps(found))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
