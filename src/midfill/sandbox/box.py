"""A private directory in which commands run, one after the other."""

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from midfill.sandbox.calls import pack
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError
from midfill.sandbox.supervise import GRACE_S, InfraError, Sink, follow
from midfill.sandbox.verdict import Level, Limits, Outcome
from midfill.sandbox.worker import Worker


class Box:
    """A private directory in which commands run, one after the other. Made by `Sandbox.box`."""

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self.worker, self.limits = worker, limits
        self.link, theirs = Channel.pair()
        worker.allow(limits)
        try:
            message = {"do": "box", "limits": dataclasses.asdict(limits)}
            worker.control.send_bytes(pack(message), (theirs.fileno(),))
        except ClosedError:
            raise InfraError("the worker is gone") from None
        finally:
            theirs.close()

    def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        """Put a file at a relative path. Raises ValueError for paths that lead out, OSError."""
        self._ask({"do": "write", "path": _inside(path), "data": data, "executable": executable})

    def read(self, path: str, most: int = 1 << 20) -> bytes:
        """The first bytes of a file; links are not followed. Raises ValueError, OSError."""
        return self._ask({"do": "read", "path": _inside(path), "most": most})["data"]

    def run(
        self,
        argv: Iterable[str],
        *,
        stdin: bytes | int = b"",
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        address_space: bool = True,
    ) -> Outcome:
        """Run a command, and all that it starts, to its end. Raises InfraError.

        `address_space` False: memory is counted where it is used, not where it is reserved, as
        runtimes with a heap of their own need it. `stdin` may be a pipe's reading end, to be read as
        it fills; it stays the caller's. Descriptor 3 is `Outcome.report`.
        """
        limits = limits or self.limits
        worker = self.worker
        started = time.monotonic()
        kills = worker.allow(limits)
        with ExitStack() as opened:
            given = opened.enter_context(tempfile.TemporaryFile())
            if isinstance(stdin, bytes):
                given.write(stdin)
                given.seek(0)
            pipes = [Sink.pipe(opened, limits.output_kb << 10) for _ in range(3)]
            sinks = [sink for sink, _ in pipes]
            message = {
                "do": "run",
                "argv": list(argv),
                "limits": dataclasses.asdict(limits),
                "memory_mb": limits.memory_mb,
                "processes": limits.processes + 8,
                "address_space": address_space,
                "environment": dict(environment or {}),
            }
            first = stdin if isinstance(stdin, int) else given.fileno()
            try:
                self.link.send_bytes(pack(message), (first, *(end.fileno() for _, end in pipes)))
                for _, end in pipes:
                    end.close()
                found = follow(self.link, started + limits.wall_s, sinks)
            except ClosedError:
                raise InfraError("the box is gone") from None
        if "ended" not in found:
            raise InfraError(str(found.get("failed", "the box does not say what came of a run")))
        if worker.kills() > kills:
            found |= {"ended": "memory", "detail": "out of memory, all its processes together"}
        return Outcome(
            ended=found["ended"],
            status=found.get("status", 0),
            stdout=bytes(sinks[0].data),
            stderr=bytes(sinks[1].data),
            report=bytes(sinks[2].data),
            cpu_s=found.get("cpu_s", 0.0),
            wall_s=time.monotonic() - started,
            detail=found.get("detail", ""),
        )

    def close(self) -> None:
        """End the box; its directory goes with it."""
        self.link.close()
        worker = self.worker
        worker.control.end.settimeout(GRACE_S)
        try:
            worker.control.receive()
        except (ClosedError, CodecError, TimeoutError):
            raise InfraError("the worker does not end its box") from None

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.link.end.settimeout(GRACE_S + 5)
        try:
            self.link.send_bytes(pack(message))
            answer = self.link.receive()
        except (ClosedError, TimeoutError):
            raise InfraError("the box is gone") from None
        except CodecError as problem:
            raise OSError(f"too large: {problem}") from None
        assert isinstance(answer, dict)
        if "failed" in answer:
            raise OSError(answer.get("errno") or 0, answer["failed"])
        return answer


def _inside(path: str) -> str:
    """A relative path without `..`. Raises ValueError for others."""
    os.fsencode(path)
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} does not name a file inside the box")
    return path


class Boxes(Protocol):
    """Whoever gives boxes, at a level of isolation: a Sandbox."""

    level: Level

    def box(
        self, files: Mapping[str, bytes] | None = None, limits: Limits = ...
    ) -> AbstractContextManager[Box]:
        """A box with `files` in it, gone afterwards."""
        ...
