"""The process that every run is forked from: warm, confined, and ignorant.

It is the first process of its worker's pid namespace and has imported what programs import. It forks
a process per run, counts what it uses, and ends it. It reads neither code nor tests: those go from the
supervisor to the processes that run them, so a program that searches the memory it was forked with
finds nothing that is not its own.
"""

import builtins
import contextlib
import gc
import os
import select
import sys
import tempfile
import time
from _sitebuiltins import Quitter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from midfill.sandbox import linux
from midfill.sandbox.calls import unpack
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.child import Child
from midfill.sandbox.codec import CodecError
from midfill.sandbox.confine import DEVICES, Plan, settle_worker
from midfill.sandbox.places import remove_tree
from midfill.sandbox.processes import TICK, end_all
from midfill.sandbox.rehearsal import rehearse
from midfill.sandbox.side import Side
from midfill.sandbox.verdict import Limits

WARM = (
    "bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq io "
    "itertools json math operator random re statistics string textwrap traceback types typing unittest"
).split()
COUNT_S = 1.0  # how long a count of the user's other threads is good for
TRIES = 2  # to have two processes that live
MOST_ENDING = 3  # processes that may still be ending when the next run begins
_MIB = 1 << 20


class Zygote:
    """Forks runs on request, one at a time."""

    def __init__(self, control: int, plan: Plan) -> None:
        self.control = Channel.of(control)
        self.others, self.counted = 0, -COUNT_S
        self.examiner: Side | None = None
        self.ahead: dict[str, Side] = {}  # forked for the next run, with the limits of the last
        self.ahead_limits = Limits()
        self.ending: list[Side] = []  # killed, but not waited for yet
        self.plan = plan
        self.home = plan.scratch or plan.home
        devices = [f"/dev/{name}" for name in DEVICES]
        self.read = ("/",) if plan.namespaces else (*plan.read, *devices)
        self.spaces = linux.NEWPID | linux.NEWNS if plan.namespaces else 0

    def serve(self, problem: str | None) -> None:
        """Say that it is ready, or why it cannot be, then do what is asked until nobody asks."""
        if problem is None and self.plan.namespaces:
            try:
                settle_worker()
            except OSError as error:
                problem = str(error)
        if problem is None:
            linux.prctl(linux.CHILD_SUBREAPER, 1)
            self.warm()
        self.control.send({"problem": problem})
        with contextlib.suppress(ClosedError):
            while True:
                packed, descriptors = self.control.receive_all()
                request = unpack(packed)
                if request["do"] != "stop":  # that came too late for a run that is over
                    self.answer(request, descriptors)

    def answer(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Do one run, say what came of it, and prepare the next."""
        limits = Limits(**request["limits"])
        try:
            self.reap(wait=request["do"] == "box")
            if request["do"] == "box":
                self.control.send(self.box(limits, *descriptors))
                return
            if request["numpy"]:
                self.import_numpy()
            self.control.send(self.pair(limits, descriptors, kept=request["kept"]))
            self.fork_ahead(limits, ("program",) if request["kept"] else ("program", "tests"))
        except OSError as error:  # no fork, no memory: of this machine, not of the program
            self.control.send({"infra": f"{error.filename or 'fork'}: {error.strerror}"})

    def reap(self, *, wait: bool = False) -> None:
        """Forget those that have ended. In a cgroup what they used counts until they have: wait."""
        for side in self.ending:
            if wait or self.plan.cgroup or len(self.ending) > MOST_ENDING:
                side.reap()
            else:
                side.has_gone()
        self.ending = [side for side in self.ending if not side.gone]

    def warm(self) -> None:
        """Import what programs are likely to, once for all of them."""
        for name in WARM:
            __import__(name)
        linux.drop_bounding_set()
        linux.prepare_filters()
        self.ruleset = linux.landlock_ruleset(self.read)
        nothing = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        os.close(nothing)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.path[:] = [path for path in sys.path if path != os.environ.get("MIDFILL_SOURCE")]
        os.environ.pop("MIDFILL_SOURCE", None)
        for name in ("exit", "quit"):  # which only a start with site defines
            setattr(builtins, name, Quitter(name, "Ctrl-D"))
        rehearse()
        self.freeze()

    def import_numpy(self) -> None:
        """Import it for all programs from here on; without it a fork costs a fifth less."""
        if "numpy" not in sys.modules:
            with contextlib.suppress(ImportError):
                __import__("numpy").random.seed(0)
            self.drop_ahead()
            self.freeze()

    def freeze(self) -> None:
        """Keep the garbage collector of children away from what is here, and measure that."""
        gc.collect()
        gc.freeze()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        self.size = pages * os.sysconf("SC_PAGE_SIZE")

    def pair(self, limits: Limits, descriptors: list[int], *, kept: bool) -> dict[str, Any]:
        """A program and its tests, each in a process of its own, with a line between them."""
        sides: list[Side] = []
        try:
            for _ in range(
                TRIES
            ):  # one that waited may have been killed: by the kernel, for memory
                sides = []
                try:
                    sides.append(self._side("program", limits))
                    sides.append(self._examiner() if kept else self._side("tests", limits))
                    _introduce(sides, descriptors)
                    break
                except ClosedError:
                    self._drop(sides)
                except OSError:
                    self._drop(sides)
                    raise
            else:
                raise OSError(0, "it ended before it began", "a process of its own")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return self._watch(sides, limits)

    def _drop(self, sides: list[Side]) -> None:
        for side in sides:
            side.kill()
            side.reap()
        if self.examiner in sides:
            self.examiner = None

    def _side(self, role: str, limits: Limits) -> Side:
        """A confined process that waits for its part: the one that was forked ahead, or a new one."""
        if limits != self.ahead_limits:
            self.drop_ahead()
        side = self.ahead.pop(role, None)
        stale = not self.plan.namespaces and side and time.monotonic() > side.born + COUNT_S
        if side is not None and not stale:
            with contextlib.suppress(ClosedError):
                side.settle()
                return side
        self._drop([side] if side else [])
        side = self._fork(role, limits)
        try:
            side.settle()
        except (OSError, ClosedError):
            self._drop([side])
            raise
        return side

    def fork_ahead(self, limits: Limits, roles: tuple[str, ...]) -> None:
        """Fork what the next run will need if it is like the last, while nobody waits for it."""
        self.ahead_limits = limits
        for role in roles:
            with contextlib.suppress(OSError):
                self.ahead[role] = self._fork(role, limits)

    def drop_ahead(self) -> None:
        """End the processes that wait for a run that will not come."""
        self._drop(list(self.ahead.values()))
        self.ahead = {}

    def _fork(self, role: str, limits: Limits) -> Side:
        child = self.child()
        if role == "program":
            return _forked(role, self.spaces, lambda line: child.program(limits, line))
        # A program must not reach its tests; these need no place of their own.
        hidden = 0 if linux.landlock_version() >= 6 else self.spaces & linux.NEWPID
        return _forked(role, hidden, lambda line: child.tests(limits, line))

    def child(self) -> Child:
        """What the next child is to know."""
        if not self.plan.namespaces and time.monotonic() > self.counted + COUNT_S:
            self.others, self.counted = _of_this_user(), time.monotonic()
        return Child(self.plan, self.home, self.read, self.ruleset, self.size, self.others)

    def _examiner(self) -> Side:
        """The process that is kept for tests that midfill vouches for; started when it is first needed."""
        if self.examiner is None:
            self.examiner = _forked("tests", 0, self.child().examine, kept=True)
            try:
                self.examiner.settle()
            except (OSError, ClosedError):
                self._drop([self.examiner])
                raise
        return self.examiner

    def box(self, limits: Limits, link: int) -> dict[str, Any]:
        """A directory of its own, and a first process in it that runs programs when asked."""
        child = self.child()
        if self.plan.scratch:
            child = replace(child, home=tempfile.mkdtemp(dir=self.plan.scratch))
        init = linux.clone(self.spaces)
        if init == 0:
            _only(lambda: child.box(limits, link))
        os.close(link)
        found = self._watch([Side("init", init)], None)
        if not self.plan.namespaces:  # then its processes may outlive it
            kept = [self.examiner] if self.examiner else []
            end_all(spared=[side.process for side in (*kept, *self.ahead.values())])
        if self.plan.scratch:
            remove_tree(child.home)
        return found

    def _watch(self, sides: list[Side], limits: Limits | None) -> dict[str, Any]:
        """Wait until all sides have ended; the others end with the last one, all with a limit."""
        waiting = select.poll()
        waiting.register(self.control, select.POLLIN | select.POLLHUP)
        for side in sides:
            side.watch(waiting)
        leader = sides[-1]
        found: dict[str, Any] = {}
        while sides:
            ready = {descriptor for descriptor, _ in waiting.poll(TICK * 1000 if limits else None)}
            done = [side for side in sides if side.ready(ready)]
            found |= {side.name: side.ended(waiting) for side in done}
            sides = [side for side in sides if side not in done]
            over = self._over(sides, limits, ready) if leader in sides else None
            if over:
                found.setdefault("over", over)
            if over or leader not in sides:
                for side in sides:
                    side.kill()
            if leader in done:  # the others are dead, if not yet gone, and reach nobody
                found |= {side.name: side.ending(waiting) for side in sides}
                self.ending += sides
                break
        if self.examiner is not None and self.examiner.gone:
            self.examiner = None
        return found

    def _over(self, sides: list[Side], limits: Limits | None, ready: set[int]) -> str | None:
        """Whether we are told to stop, or which limit a side of a pair has passed."""
        if self.control.fileno() in ready:
            with contextlib.suppress(CodecError, ClosedError):
                self.control.receive_bytes()  # it says that time is up, or is closed
            return "stop"
        if limits is None or ready:
            return None
        for side in sides:
            cpu_s, memory = side.usage.look()
            if cpu_s - side.cpu_before > limits.cpu_s:
                return f"{side.name} cpu"
            if memory > self.size // 4 + (limits.memory_mb + 64) * _MIB:
                return f"{side.name} memory"
        return None


def _introduce(sides: list[Side], descriptors: list[int]) -> None:
    """Give a program and its tests what they are to run, and a line between them."""
    code, output, report = descriptors
    tests_end, program_end = Channel.pair()
    try:
        sides[0].begin((program_end.fileno(), code, output))
        sides[1].begin((tests_end.fileno(), report))
    finally:
        tests_end.close()
        program_end.close()


def _forked(name: str, spaces: int, body: Callable[[Channel], None], *, kept: bool = False) -> Side:
    """A child that does `body` with its end of a line to us."""
    ours, theirs = Channel.pair()
    process = linux.clone(spaces)
    if process == 0:
        _only(lambda: body(theirs))
    theirs.close()
    return Side(name, process, ours, kept=kept)


def _only(body: Callable[[], None]) -> NoReturn:
    """What a forked child does, and nothing after it: it must never come back into the zygote's loop."""
    try:
        body()
        os._exit(0)
    except BaseException:
        os._exit(70)


def _of_this_user() -> int:
    """How many threads this user has on the machine, since the kernel's limit counts them all."""
    total, me = 0, os.getuid()
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == me:
                total += sum(1 for _ in Path(entry, "task").iterdir())
    return total
