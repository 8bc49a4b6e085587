"""The supervisor's end of a worker: gives it runs, reads what comes of them, owns the clock.

Nothing of a program is executed or unpickled here: outputs are bytes that are cut at a length, and
messages are values of the codec.
"""

import contextlib
import dataclasses
import errno
import io
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

from midfill.sandbox import cgroup
from midfill.sandbox.calls import pack
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError
from midfill.sandbox.confine import ENVIRONMENT, HOME, OTHER_HOME
from midfill.sandbox.languages import READ_ONLY_PATHS
from midfill.sandbox.places import remove_tree
from midfill.sandbox.processes import ended_at_cpu_limit, signal_name
from midfill.sandbox.supervise import GRACE_S, InfraError, Sink, follow, printable
from midfill.sandbox.verdict import Level, Limits, Status, Verdict

START_S = 60.0  # a worker that has not started by then does not
FIRST_UID = 2_000_000  # root's workers become a user that nobody else is
UIDS = 64  # per supervisor
_numbers = itertools.count()
_MIB = 1 << 20


class Worker:
    """One zygote, for one run at a time.

    Raises InfraError where it cannot be started at this level.
    """

    def __init__(self, level: Level) -> None:
        self.level: Level = level
        with ExitStack() as made, ExitStack() as theirs:
            self._start(made, theirs)
            self._made = made.pop_all()
        self.allowed: tuple[int, int] | None = None
        self.base = cgroup.settled(self.group) if self.group else 0
        _workers.add(self)

    def _start(self, made: ExitStack, theirs: ExitStack) -> None:
        """Start its processes; `made` undoes that, `theirs` closes what is only for them."""
        self.group = cgroup.make(os.urandom(4).hex()) if self.level == "A" else None
        if self.level == "A" and self.group is None:
            raise InfraError("no cgroup with memory and pids can be made here")
        if self.group:
            made.callback(self.group.remove)
        spaces = self.level in ("A", "B")
        scratch = None
        if not spaces:
            scratch = tempfile.mkdtemp(prefix=f"midfill-{os.getpid()}-")
            made.callback(remove_tree, scratch)  # as its keeper does, unless somebody ended that
        self.uid = None
        if os.getuid() == 0:
            self.uid = FIRST_UID + UIDS * os.getpid() + next(_numbers) % UIDS
            if scratch:
                os.chown(scratch, self.uid, self.uid)
        read_by_all = self.uid is not None and not spaces
        self.python, packages = _interpreter(readable_by_all=read_by_all)
        shown = readable()
        there = filter(os.path.exists, shown)  # Path.exists raises where one may not even look
        hidden = any(f"{path}/".startswith(f"{HOME}/") for path in there)
        home = OTHER_HOME if hidden else HOME
        ours, control = socket.socketpair()
        self.control = Channel(ours)
        reading, writing = os.pipe()  # they wait for its end, which comes with ours
        alive, self.alive = io.FileIO(reading), io.FileIO(writing, "w")
        theirs.enter_context(control)
        theirs.enter_context(alive)
        settings = {
            "home": home,
            "supervisor": os.getpid(),  # for whoever reads the list of processes
            "control": control.fileno(),
            "alive": alive.fileno(),
            "namespaces": spaces,
            "read": shown,
            "uid": self.uid,
            "scratch": scratch,
            "cgroups": self.group.folders if self.group else [],
        }
        source = str(Path(__file__).parents[2])
        start = (
            f"import sys; sys.path[:0] = {[source, *packages]!r}; sys.dont_write_bytecode = True; "
            "from midfill.sandbox.keeper import main; main(sys.argv[1:])"
        )
        environment = ENVIRONMENT | {"MIDFILL_SOURCE": source, "OPENBLAS_NUM_THREADS": "1"}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), scratch or home)
        self.keeper = subprocess.Popen(
            [self.python, "-s", "-P", "-S", "-c", start, json.dumps(settings)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(control.fileno(), alive.fileno()),
            start_new_session=True,
        )
        made.callback(self._wait_for_keeper)
        made.callback(self.alive.close)
        made.callback(self.control.close)
        theirs.close()
        ours.settimeout(START_S)
        try:
            ready = self.control.receive()
        except (ClosedError, CodecError, TimeoutError):
            raise InfraError(f"the worker did not start: {self._words()}") from None
        if not isinstance(ready, dict) or ready.get("problem"):
            raise InfraError(f"the worker cannot be confined: {ready}")

    def _words(self) -> str:
        """What the keeper said before it ended."""
        assert self.keeper.stderr is not None
        os.set_blocking(self.keeper.stderr.fileno(), False)
        time.sleep(0.1)
        return (self.keeper.stderr.read() or b"it does not say why").decode(errors="replace")[-500:]

    def close(self) -> None:
        """End it, and wait until what it used is gone."""
        self._made.close()

    def abandon(self) -> None:
        """Leave it to another process, of which this one is a fork."""
        self._made = ExitStack()
        self.alive.close()
        self.control.close()

    def _wait_for_keeper(self) -> None:
        try:
            self.keeper.wait(GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self.keeper.kill()
            self.keeper.wait()
        assert self.keeper.stderr is not None
        self.keeper.stderr.close()

    def sealed(
        self,
        code: str,
        tests: str,
        entry_point: str | None,
        limits: Limits,
        *,
        trusted: bool = False,
    ) -> Verdict:
        """Run tests against a Python program. Raises InfraError.

        `trusted` tests are run in a process that is kept for the next ones.
        """
        level: Level = self.level if self.level in ("A", "B") else "C-strict"
        started = time.monotonic()
        kills = self.allow(limits)
        with ExitStack() as opened:
            source, their_source = _pair(opened)
            report, their_report = _pair(opened)
            sink, their_output = Sink.pipe(opened, limits.output_kb << 10)
            theirs = (their_source.fileno(), their_output.fileno(), their_report.fileno())
            message = {
                "do": "pair",
                "limits": _items(limits),
                "kept": trusted,
                "numpy": "numpy" in code or "numpy" in tests,
            }
            try:
                self.control.send_bytes(pack(message), theirs)
                for end in (their_source, their_report, their_output):
                    end.close()
                for channel, text in ((source, code), (report, (tests, entry_point))):
                    channel.end.settimeout(GRACE_S)
                    with contextlib.suppress(ClosedError):
                        channel.send(text)
                found = follow(self.control, started + limits.wall_s, [sink])
            except ClosedError:
                raise InfraError("the worker is gone") from None
            except TimeoutError:
                raise InfraError("the worker does not take what it is given") from None
            except CodecError:
                raise InfraError("the program or its tests are larger than 64 MiB") from None
            said: Any = None
            if "tests" in found and found["tests"]["status"] == 0:
                with contextlib.suppress(ClosedError, CodecError, TimeoutError):
                    said = report.receive()
        if "infra" in found:
            raise InfraError(str(found["infra"]))
        status, detail = _pair_status(found, said, limits)
        if self.kills() > kills and status != "pass":
            status, detail = "memory", "out of memory, all its processes together"
        return Verdict(
            status=status,
            sealed=True,
            level=level,
            detail=printable(detail.encode("utf-8", "replace")),
            output=sink.text(),
            cpu_s=found.get("program", {}).get("cpu_s", 0.0),
            wall_s=time.monotonic() - started,
        )

    def allow(self, limits: Limits) -> int:
        """Give the cgroup the limits of a run; how often it has had to kill so far."""
        if not self.group:
            return 0
        wanted = (
            self.base + (limits.memory_mb + limits.disk_mb + 64) * _MIB,
            limits.processes + 8,
        )
        deadline = time.monotonic() + GRACE_S
        while wanted != self.allowed:
            try:
                self.group.allow(*wanted)
                self.allowed = wanted
            except (OSError, ValueError) as error:
                busy = getattr(error, "errno", None) == errno.EBUSY  # the last run still ends
                if not busy or time.monotonic() > deadline:
                    raise InfraError(f"the cgroup is gone: {error}") from None
                time.sleep(0.002)
        return self.kills()

    def kills(self) -> int:
        """How often the kernel has ended a process of this worker because memory was out."""
        try:
            return self.group.kills() if self.group else 0
        except (OSError, ValueError) as error:
            raise InfraError(f"the cgroup is gone: {error}") from None


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _after_fork() -> None:
    """In a child of the supervisor: no worker is its own, and none may wait for its end."""
    for worker in list(_workers):
        worker.abandon()
    _workers.clear()


os.register_at_fork(after_in_child=_after_fork)


@lru_cache(8)
def _items(limits: Limits) -> dict[str, Any]:
    return dataclasses.asdict(limits)


def _pair(opened: ExitStack) -> tuple[Channel, Channel]:
    """Two ends, both closed with `opened`; closing one earlier does no harm."""
    ends = Channel.pair()
    for end in ends:
        opened.callback(end.close)
    return ends


def _pair_status(found: Mapping[str, Any], said: Any, limits: Limits) -> tuple[Status, str]:
    """The verdict on what the tests' side said and how both sides ended."""
    over = found.get("over")
    program = found.get("program", {"status": 0, "cpu_s": 0.0})
    if over == "stop":
        return (
            "timeout",
            f"{limits.wall_s:g} s have passed, {program['cpu_s']:.2g} s of them computing",
        )
    if over in ("program cpu", "tests cpu") or _at_cpu_limit(program, limits):
        whose = "the tests" if over == "tests cpu" else "the program"
        return "timeout", f"{whose} used {limits.cpu_s:g} s of processor time"
    if over in ("program memory", "tests memory"):
        return "memory", f"more than {limits.memory_mb} MB"
    if not (
        isinstance(said, tuple) and len(said) == 2 and said[0] in _SAID and isinstance(said[1], str)
    ):
        if _at_cpu_limit(found.get("tests", program), limits):
            return "timeout", f"the tests used {limits.cpu_s:g} s of processor time"
        return "error", "the tests came to no end" + _how(found.get("tests"))
    if said[0] == "gone":
        return "error", f"{said[1]}{_how(program)}"
    return said[0], said[1]


_SAID = ("pass", "wrong", "error", "memory", "infra", "gone")


def _at_cpu_limit(side: Mapping[str, Any], limits: Limits) -> bool:
    return ended_at_cpu_limit(side["status"], side["cpu_s"], limits.cpu_s)


def _how(side: Mapping[str, Any] | None) -> str:
    """How a process ended, in words."""
    if side is None:
        return ""
    if os.WIFSIGNALED(side["status"]):
        return f": {signal_name(os.WTERMSIG(side['status']))}"
    return f": exit status {os.WEXITSTATUS(side['status'])}"


def readable() -> list[str]:
    """What every program may read: the system's programs and libraries, and this Python's."""
    paths = ["/usr", "/etc/ld.so.cache", "/etc/alternatives", sys.base_prefix, sys.prefix]
    paths += [f"/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")]
    return [*paths, *(path for own in READ_ONLY_PATHS.values() for path in own)]


def _interpreter(*, readable_by_all: bool) -> tuple[str, list[str]]:
    """The Python of a worker, and where its packages lie.

    This one, or the system's where another user could not read this one's library and we can show him
    no copy of it. Raises InfraError where neither will do.
    """
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    library = str(Path(os.__file__).parent)
    if not readable_by_all or _all_may_read(library):
        return sys.executable, [
            path for path in packages if not readable_by_all or _all_may_read(path)
        ]
    system = Path("/usr/bin/python3")
    if system.exists() and system.resolve().name >= "python3.11":
        return str(system), []
    raise InfraError(f"other users may not read {library}, and there is no Python 3.11 in /usr/bin")


def _all_may_read(path: str) -> bool:
    """Whether every user can reach a directory and list it."""
    steps = [Path(path), *Path(path).parents]
    return all(step.stat().st_mode & 0o005 == 0o005 for step in steps)
