"""One process of a run, as the zygote that forked it sees it."""

import contextlib
import os
import select
import signal
import time
from typing import Any

from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.child import LAST, READY
from midfill.sandbox.codec import CodecError
from midfill.sandbox.processes import Usage, time_of


class Side:
    """A process that has been forked, and may still wait for what it is to do.

    `line` leads to it until it has begun; to one that is `kept` between runs for as long as it lives.
    """

    def __init__(self, name: str, process: int, line: Channel | None = None, *, kept: bool = False) -> None:  # fmt: skip
        self.name, self.process, self.line, self.kept = name, process, line, kept
        self.handle = os.pidfd_open(process)
        self.born = time.monotonic()
        self.usage = Usage(process, with_root=True)
        self.cpu_before = 0.0
        self.killed = self.gone = False

    def settle(self) -> None:
        """Wait until it is confined. Raises OSError where it cannot be, ClosedError where it is gone."""
        assert self.line is not None
        try:
            said = self.line.receive()
        except CodecError as error:
            raise ClosedError from error
        if said != READY:
            raise OSError(0, str(said), "a process of its own")

    def begin(self, descriptors: tuple[int, ...]) -> None:
        """Give it what it is to do."""
        assert self.line is not None
        self.cpu_before = time_of(self.process)
        self.line.send(None, descriptors)
        if not self.kept:
            self.line.close()
            self.line = None

    def watch(self, waiting: select.poll) -> None:
        """Have `waiting` tell when this side has done its part of a run."""
        waiting.register(self.handle, select.POLLIN)
        if self.line is not None:
            waiting.register(self.line, select.POLLIN)

    def ready(self, descriptors: set[int]) -> bool:
        """Whether one of these says so."""
        return self.handle in descriptors or (
            self.line is not None and self.line.fileno() in descriptors
        )

    def ended(self, waiting: select.poll) -> dict[str, Any]:
        """How it ended its part, and what that took. One that is kept goes on if it has not died."""
        self.ignore(waiting)
        if self.line is not None and not self.killed:
            with contextlib.suppress(ClosedError, CodecError):
                said = self.line.receive()
                used = time_of(self.process) - self.cpu_before
                if said == LAST:
                    self.reap()
                return {"status": 0, "cpu_s": used}
        return self.reap()

    def ending(self, waiting: select.poll) -> dict[str, Any]:
        """As `ended`, of one that has just been killed and need not be waited for."""
        self.ignore(waiting)
        used = 0.0
        with contextlib.suppress(OSError):  # it may have gone meanwhile
            used = time_of(self.process)
        used = max(used, self.usage.cpu_s) - self.cpu_before
        return {"status": signal.SIGKILL.value, "cpu_s": max(0.0, used)}

    def ignore(self, waiting: select.poll) -> None:
        """Undo `watch`."""
        waiting.unregister(self.handle)
        if self.line is not None:
            waiting.unregister(self.line)

    def kill(self) -> None:
        """End it."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def reap(self) -> dict[str, Any]:
        """Wait for its end; how that was, and what the run took."""
        _, status, used = os.wait4(self.process, 0)
        self.close()
        return {"status": status, "cpu_s": used.ru_utime + used.ru_stime - self.cpu_before}

    def has_gone(self) -> bool:
        """Whether it has ended, without waiting for that."""
        if os.waitpid(self.process, os.WNOHANG)[0]:
            self.close()
        return self.gone

    def close(self) -> None:
        """Forget a process that is gone."""
        self.gone = True
        os.close(self.handle)
        if self.line is not None:
            self.line.close()
            self.line = None
