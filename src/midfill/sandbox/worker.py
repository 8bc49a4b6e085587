"""The supervisor's end of a worker: gives it runs, reads what comes of them, owns the clock.

Nothing of a program is executed or unpickled here: outputs are bytes that are cut at a length, and
messages are values of the codec.
"""

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from midfill.sandbox import cgroup
from midfill.sandbox.channel import Channel, Closed
from midfill.sandbox.codec import CodecError
from midfill.sandbox.confine import ENVIRONMENT
from midfill.sandbox.verdict import Level, Limits, Outcome, Status, Verdict

START_S = 60.0  # a worker that has not started by then does not
GRACE_S = 5.0  # for the worker to end what it was told to end
FIRST_UID = 2_000_000  # root's workers become FIRST_UID + process id: nobody else's
_MIB = 1 << 20


class Fault(Exception):
    """The sandbox failed, and says nothing about the program."""


class Worker:
    """One zygote, for one run at a time.

    Raises Fault where it cannot be started at this level.
    """

    def __init__(self, level: Level, read: Iterable[str] = ()) -> None:
        self.level: Level = level
        self.group = cgroup.make(os.urandom(4).hex()) if level == "A" else None
        if level == "A" and self.group is None:
            raise Fault("no cgroup with memory and pids can be made here")
        spaces = level in ("A", "B")
        self.scratch = None if spaces else tempfile.mkdtemp(prefix="midfill-sandbox-")
        control, theirs = socket.socketpair()
        self._alive, their_alive = os.pipe()
        self._alive, their_alive = (
            their_alive,
            self._alive,
        )  # they read; the write end closes with us
        uid = FIRST_UID + os.getpid() if os.getuid() == 0 else None
        if uid is not None and self.scratch:
            os.chown(self.scratch, uid, uid)
        self.python, packages = _interpreter(readable_by_all=uid is not None and not spaces)
        settings = {
            "control": theirs.fileno(),
            "alive": their_alive,
            "namespaces": spaces,
            "read": [*readable(), *read],
            "uid": uid,
            "scratch": self.scratch,
            "cgroups": self.group.folders if self.group else [],
        }
        source = str(Path(__file__).parents[2])
        start = (
            f"import sys; sys.path[:0] = {[source, *packages]!r}; sys.dont_write_bytecode = True; "
            "from midfill.sandbox.zygote import main; main(sys.argv[1:])"
        )
        environment = ENVIRONMENT | {"MIDFILL_SOURCE": source, "OPENBLAS_NUM_THREADS": "1"}
        if self.scratch:
            environment |= {"HOME": self.scratch, "TMPDIR": self.scratch}
        self.keeper = subprocess.Popen(
            [self.python, "-I", "-S", "-c", start, json.dumps(settings)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(), their_alive),
            start_new_session=True,
        )
        theirs.close()
        os.close(their_alive)
        self.control = Channel(control)
        control.settimeout(START_S)
        try:
            ready = self.control.receive()
        except (Closed, CodecError, TimeoutError):
            words = self._words()
            self.close()
            raise Fault(f"the worker did not start: {words}") from None
        if not isinstance(ready, dict) or ready.get("problem"):
            self.close()
            raise Fault(f"the worker cannot be confined: {ready}")
        self.base = cgroup.settled(self.group) if self.group else 0

    def _words(self) -> str:
        """What the keeper said before it ended."""
        assert self.keeper.stderr is not None
        os.set_blocking(self.keeper.stderr.fileno(), False)
        time.sleep(0.1)
        return (self.keeper.stderr.read() or b"it does not say why").decode(errors="replace")[-500:]

    def close(self) -> None:
        """End it, and wait until what it used is gone."""
        self.control.close() if hasattr(self, "control") else None
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        try:
            self.keeper.wait(GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self.keeper.kill()
            self.keeper.wait()
        if self.keeper.stderr:
            self.keeper.stderr.close()
        if self.group:
            self.group.remove()

    def sealed(self, code: str, tests: str, entry_point: str | None, limits: Limits) -> Verdict:
        """Run tests against a Python program. Raises Fault."""
        level: Level = self.level if self.level in ("A", "B") else "C-strict"
        started = time.monotonic()
        source, their_source = Channel.pair()
        report, their_report = Channel.pair()
        output, their_output = os.pipe()
        kills = self._allow(limits)
        sink = _Sink(output, limits.output_kb << 10)
        said: Any = None
        try:
            try:
                theirs = (their_source.fileno(), their_output, their_report.fileno())
                self.control.send({"do": "pair", "limits": dataclasses.asdict(limits)}, theirs)
            finally:
                their_source.close()
                their_report.close()
                os.close(their_output)
            for channel, message in ((source, code), (report, (tests, entry_point))):
                channel.end.settimeout(GRACE_S)
                with contextlib.suppress(Closed, TimeoutError):
                    channel.send(message)
            found = self._follow(started + limits.wall_s, [sink])
            if "tests" in found and found["tests"]["status"] == 0:
                with contextlib.suppress(Closed, CodecError, TimeoutError):
                    said = report.receive()
        except Closed:
            raise Fault("the worker is gone") from None
        finally:
            source.close()
            report.close()
            sink.close()
        if "infra" in found:
            raise Fault(str(found["infra"]))
        status, detail = _pair_status(found, said, limits)
        if self.group and self.group.kills() > kills and status != "pass":
            status, detail = "memory", "out of memory, all its processes together"
        return Verdict(
            status=status,
            sealed=True,
            level=level,
            detail=detail,
            output=sink.text(),
            cpu_s=found.get("program", {}).get("cpu_s", 0.0),
            wall_s=time.monotonic() - started,
        )

    def _allow(self, limits: Limits) -> int:
        """Give the cgroup the limits of a run; how often it has had to kill so far."""
        if not self.group:
            return 0
        try:
            memory = self.base + (limits.memory_mb + limits.disk_mb + 64) * _MIB
            self.group.allow(memory, limits.processes + 8)
            return self.group.kills()
        except (OSError, ValueError) as error:
            raise Fault(f"the cgroup is gone: {error}") from None

    def _follow(self, deadline: float, sinks: "list[_Sink]") -> dict[str, Any]:
        """Drain the sinks until the worker says that a run is over, which it is at the deadline."""
        self.control.end.settimeout(GRACE_S)
        told = False
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.control, selectors.EVENT_READ)
            for sink in sinks:
                waiting.register(sink.descriptor, selectors.EVENT_READ, sink)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 and told:
                    raise Fault("the worker does not end its run")
                if left <= 0:
                    self.control.send({"do": "stop"})
                    told, deadline = True, time.monotonic() + GRACE_S
                    continue
                for key, _ in waiting.select(left):
                    if key.data is not None:
                        if not key.data.read():
                            waiting.unregister(key.data.descriptor)
                        continue
                    try:
                        found = self.control.receive()
                    except (CodecError, TimeoutError):
                        raise Fault("the worker does not make sense") from None
                    if not isinstance(found, dict):
                        raise Fault("the worker does not make sense")
                    for sink in sinks:
                        sink.rest()
                    return found


def _pair_status(found: Mapping[str, Any], said: Any, limits: Limits) -> tuple[Status, str]:
    """The verdict on what the tests' side said and how both sides ended."""
    over = found.get("over")
    program = found.get("program", {"status": 0, "cpu_s": 0.0})
    if over == "stop":
        return "timeout", f"{limits.wall_s:g} s have passed"
    if over in ("program cpu", "tests cpu") or _at_cpu_limit(program, limits):
        whose = "the tests" if over == "tests cpu" else "the program"
        return "timeout", f"{whose} used {limits.cpu_s:g} s of processor time"
    if over in ("program memory", "tests memory"):
        return "memory", f"more than {limits.memory_mb} MB"
    if not (isinstance(said, tuple) and len(said) == 2 and said[0] in _SAID):
        if _at_cpu_limit(found.get("tests", program), limits):
            return "timeout", f"the tests used {limits.cpu_s:g} s of processor time"
        return "error", "the tests came to no end" + _how(found.get("tests"))
    if said[0] == "gone":
        return "error", f"{said[1]}{_how(program)}"
    return said[0], said[1]


_SAID = ("pass", "wrong", "error", "memory", "infra", "gone")


def _at_cpu_limit(side: Mapping[str, Any], limits: Limits) -> bool:
    status = side["status"]
    if not os.WIFSIGNALED(status):
        return False
    killed = os.WTERMSIG(status)
    return killed == signal.SIGXCPU or (killed == signal.SIGKILL and side["cpu_s"] >= limits.cpu_s)


def _how(side: Mapping[str, Any] | None) -> str:
    """How a process ended, in words."""
    if side is None:
        return ""
    if os.WIFSIGNALED(side["status"]):
        return f": {signal.Signals(os.WTERMSIG(side['status'])).name}"
    return f": exit status {os.WEXITSTATUS(side['status'])}"


class Box:
    """A private directory in which commands run, one after the other. Made by `Sandbox.box`."""

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self.worker, self.limits = worker, limits
        self.link, theirs = Channel.pair()
        self._kills = worker._allow(limits)
        self.home = worker.scratch or "/tmp"
        try:
            message = {"do": "box", "limits": dataclasses.asdict(limits)}
            worker.control.send(message, (theirs.fileno(),))
        except Closed:
            raise Fault("the worker is gone") from None
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
        stdin: bytes = b"",
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        address_space: bool = True,
    ) -> Outcome:
        """Run a command, and all that it starts, to its end. Raises Fault.

        `address_space` False: memory is counted where it is used, not where it is reserved, as
        runtimes with a heap of their own need it. Descriptor 3 is `Outcome.report`.
        """
        limits = limits or self.limits
        worker = self.worker
        started = time.monotonic()
        given = tempfile.TemporaryFile()  # noqa: SIM115
        pipes = [os.pipe() for _ in range(3)]
        sinks = [_Sink(end, limits.output_kb << 10) for end, _ in pipes]
        kills = worker._allow(limits)
        try:
            given.write(stdin)
            given.seek(0)
            message = {
                "do": "run",
                "argv": list(argv),
                "limits": dataclasses.asdict(limits),
                "memory_mb": limits.memory_mb,
                "processes": limits.processes + 8,
                "address_space": address_space,
                "environment": dict(environment or {}),
                "home": self.home,
            }
            self.link.send(message, (given.fileno(), *(end for _, end in pipes)))
            for _, end in pipes:
                os.close(end)
            pipes = []
            found = self._follow(started + limits.wall_s, sinks)
        except Closed:
            raise Fault("the box is gone") from None
        finally:
            given.close()
            for _, end in pipes:
                os.close(end)
            for sink in sinks:
                sink.close()
        if worker.group and worker.group.kills() > kills:
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
        except (Closed, CodecError, TimeoutError):
            raise Fault("the worker does not end its box") from None

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.link.end.settimeout(GRACE_S + 5)
        try:
            self.link.send(message)
            answer = self.link.receive()
        except (Closed, TimeoutError):
            raise Fault("the box is gone") from None
        except CodecError as problem:
            raise OSError(f"too large: {problem}") from None
        assert isinstance(answer, dict)
        if "failed" in answer:
            raise OSError(answer.get("errno") or 0, answer["failed"])
        return answer

    def _follow(self, deadline: float, sinks: "list[_Sink]") -> dict[str, Any]:
        talk = Worker.__new__(Worker)  # the same waiting, on the line to the box
        talk.control = self.link
        found = talk._follow(deadline, sinks)
        if "failed" in found:
            raise Fault(str(found["failed"]))
        return found


def _inside(path: str) -> str:
    """A relative path without `..`. Raises ValueError for others."""
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} does not name a file inside the box")
    return path


class _Sink:
    """The reading end of an output: keeps the first bytes, reads the rest and drops it."""

    def __init__(self, descriptor: int, most: int) -> None:
        self.descriptor, self.most = descriptor, most
        self.data = bytearray()
        os.set_blocking(descriptor, False)

    def read(self) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return True
        self.data += data[: max(0, self.most - len(self.data))]
        return bool(data)

    def rest(self) -> None:
        """Take what is left of a run that is over, without waiting for whoever holds the other end."""
        for _ in range(self.most // (1 << 16) + 2):
            try:
                data = os.read(self.descriptor, 1 << 16)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            self.data += data[: max(0, self.most - len(self.data))]

    def close(self) -> None:
        os.close(self.descriptor)

    def text(self) -> str:
        """What was printed, without control characters but line ends and tabs."""
        return printable(bytes(self.data))


def printable(data: bytes) -> str:
    """Text of bytes that anybody may have written, safe to show in a terminal."""
    text = data.decode("utf-8", "replace")
    return "".join(c for c in text if c in "\n\t" or c.isprintable() or c == " ")


def readable() -> list[str]:
    """What every program may read: the system's programs and libraries, and this Python's."""
    paths = ["/usr", "/etc/ld.so.cache", "/etc/alternatives", sys.base_prefix, sys.prefix]
    return [*paths, *(f"/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"))]


def _interpreter(*, readable_by_all: bool) -> tuple[str, list[str]]:
    """The Python of a worker, and where its packages lie.

    This one, or the system's where another user could not read this one's library and we can show him
    no copy of it. Raises Fault where neither will do.
    """
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    library = str(Path(os.__file__).parent)
    if not readable_by_all or _all_may_read(library):
        return sys.executable, [path for path in packages if not readable_by_all or _all_may_read(path)]
    system = Path("/usr/bin/python3")
    if system.exists() and system.resolve().name >= "python3.11":
        return str(system), []
    raise Fault(f"other users may not read {library}, and there is no Python 3.11 in /usr/bin")


def _all_may_read(path: str) -> bool:
    """Whether every user can reach a directory and list it."""
    steps = [Path(path), *Path(path).parents]
    return all(step.stat().st_mode & 0o005 == 0o005 for step in steps)
