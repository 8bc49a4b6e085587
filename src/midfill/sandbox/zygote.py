"""The process that every run is forked from: warm, confined, and ignorant.

It is the first process of its worker's pid namespace and has imported what programs import. It forks
a process per run, counts what it uses, and ends it. It reads neither code nor tests: those go from the
supervisor to the processes that run them, so a program that searches the memory it was forked with
finds nothing that is not its own.
"""

import contextlib
import gc
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from midfill.sandbox import box_init, candidate, linux, trial
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.confine import (
    Plan,
    lock_in,
    own_directory,
    set_limits,
    settle_worker,
    show_processes,
)
from midfill.sandbox.places import remove_tree
from midfill.sandbox.processes import Usage, be_killed_first, end_all
from midfill.sandbox.verdict import Limits

TICK = 0.02  # seconds between looks at what a run uses
WARM = (
    "bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq io "
    "itertools json math operator random re statistics string textwrap traceback types typing unittest"
).split()
KEPT = Limits(cpu_s=1e6, memory_mb=1024)  # of a process that is kept for trusted tests
COUNT_S = 1.0  # how long a count of the user's other threads is good for
_MIB = 1 << 20


class Zygote:
    """Forks runs on request, one at a time."""

    def __init__(self, control: int, plan: Plan) -> None:
        self.control = Channel.of(control)
        self.others, self.counted = 0, -COUNT_S
        self.examiner: Side | None = None
        self.ending: list[Side] = []  # killed, but not waited for yet
        self.plan = plan
        self.home = plan.scratch or plan.home
        self.everything = ["/"] if plan.namespaces else [*plan.read, "/dev", "/proc/self"]

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
        runs: dict[str, Callable] = {"pair": self.pair, "box": self.box}
        with contextlib.suppress(ClosedError):
            while True:
                request, descriptors = self.control.receive_all()
                self.reap()
                assert isinstance(request, dict)
                try:
                    answer = runs[request["do"]](request, descriptors)
                except OSError as error:  # no fork, no memory: of this machine, not of the program
                    answer = {"infra": f"{error.filename or 'fork'}: {error.strerror}"}
                self.control.send(answer)

    def reap(self) -> None:
        """Wait for what was left to end."""
        for side in self.ending:
            os.close(side.handle)
            os.waitpid(side.process, 0)
        self.ending = []

    def warm(self) -> None:
        """Import what programs are likely to, once for all of them."""
        for name in WARM:
            __import__(name)
        with contextlib.suppress(ImportError):
            __import__("numpy")
        linux.drop_bounding_set()
        linux.prepare_filters()
        self.ruleset = linux.landlock_ruleset(self.everything)
        self.nothing = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(self.nothing, number)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.path[:] = [path for path in sys.path if path != os.environ.get("MIDFILL_SOURCE")]
        os.environ.pop("MIDFILL_SOURCE", None)
        gc.collect()
        gc.freeze()
        self.size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    def pair(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """A program and its tests, each in a process of its own, with a line between them."""
        code, output, report = descriptors
        limits = Limits(**request["limits"])
        tests_end, program_end = Channel.pair()
        self.count_others()
        fresh = linux.NEWPID | linux.NEWNS if self.plan.namespaces else 0
        sides: list[Side] = []
        try:
            program = linux.clone(fresh)
            if program == 0:
                keep = (program_end.fileno(), code)
                _only(lambda: self._program(limits, keep, output, alone=not fresh))
            sides.append(Side("program", program))
            if request["kept"]:
                sides.append(self._examiner())
                sides[-1].begin((tests_end.fileno(), report))
            else:
                hidden = 0 if linux.landlock_version() >= 6 else fresh & linux.NEWPID
                tests = linux.clone(hidden)
                if tests == 0:
                    _only(lambda: self._tests(limits, (tests_end.fileno(), report)))
                sides.append(Side("tests", tests))
        except (OSError, ClosedError):
            for side in sides:
                side.kill()
                os.waitpid(side.process, 0)
            self.examiner = None
            raise
        finally:
            for end in (tests_end, program_end):
                end.close()
            for descriptor in descriptors:
                os.close(descriptor)
        return self._watch(sides, limits)

    def count_others(self) -> None:
        """How many threads this user has beside us: without a user namespace its limit counts them."""
        if not self.plan.namespaces and time.monotonic() > self.counted + COUNT_S:
            self.others, self.counted = _of_this_user(), time.monotonic()

    def _program(self, limits: Limits, keep: tuple[int, int], output: int, *, alone: bool) -> None:
        self._begin(limits, keep, output, alone=alone)
        source = Channel.of(4)
        code = source.receive()
        source.close()
        assert isinstance(code, str)
        candidate.run(code, Channel.of(3))

    def _tests(self, limits: Limits, keep: tuple[int, int]) -> None:
        self._begin(limits, keep, None, alone=True, tests=True)
        line = Channel.of(4)
        tests, entry_point = line.receive()  # type: ignore[misc]
        trial.run(tests, entry_point, line, Channel.of(3))

    def _examiner(self) -> "Side":
        """The process that is kept for tests that midfill vouches for; started when it is first needed."""
        if self.examiner is None:
            ours, theirs = Channel.pair()
            process = linux.clone(0)
            if process == 0:
                _only(lambda: self._examine(theirs.fileno()))
            theirs.close()
            self.examiner = Side("tests", process, ours)
        return self.examiner

    def _examine(self, line: int) -> None:
        self._begin(KEPT, (line,), None, alone=True, tests=True)
        runs = Channel.of(3)
        while True:
            _, (calls, report) = runs.receive_all()
            said, asked = Channel.of(report), Channel.of(calls)
            tests, entry_point = said.receive()  # type: ignore[misc]
            trial.run(tests, entry_point, said, asked)
            said.close()
            asked.close()
            gc.collect()
            runs.send("done")

    def box(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """A directory of its own, and a first process in it that runs programs when asked."""
        (link,) = descriptors
        limits = Limits(**request["limits"])
        fresh = linux.NEWPID | linux.NEWNS if self.plan.namespaces else 0
        self.count_others()
        home = tempfile.mkdtemp(dir=self.plan.scratch) if self.plan.scratch else self.home
        init = linux.clone(fresh)
        if init == 0:
            _only(lambda: self._init(limits, link, home))
        os.close(link)
        found = self._watch([Side("init", init)], None)
        if self.plan.scratch:
            remove_tree(home)
        return found

    def _init(self, limits: Limits, link: int, home: str) -> None:
        if not self.plan.namespaces:
            linux.prctl(linux.PARENT_DIES, signal.SIGKILL)
        self._own_place(limits)
        os.dup2(link, 3)
        os.closerange(4, 1 << 20)
        linux.drop_capabilities()
        place = box_init.Place(
            directory=home,
            read=tuple(self.everything),
            write=(home, "/dev/null"),
            others=self.others,
            exact=self.plan.cgroup,
        )
        box_init.serve(Channel.of(3), place)

    def _own_place(self, limits: Limits) -> None:
        if self.plan.namespaces:
            own_directory(limits, self.home)
            show_processes()

    def _begin(
        self,
        limits: Limits,
        keep: tuple[int, ...],
        output: int | None,
        *,
        alone: bool,
        tests: bool = False,
    ) -> None:
        """What the child of a fork does before anything of others: its place, its limits, its lock."""
        if not self.plan.namespaces:  # in one, it ends with the zygote anyway
            linux.prctl(linux.PARENT_DIES, signal.SIGKILL)
        if self.plan.cgroup and not tests:
            be_killed_first()
        if not alone:
            self._own_place(limits)
        os.setsid()
        shown = self.nothing if output is None else output
        for number, descriptor in enumerate((self.nothing, shown, shown, *keep)):
            os.dup2(descriptor, 64 + number)
        ruleset = None
        if alone:
            ruleset = 64 + 3 + len(keep)
            os.dup2(self.ruleset, ruleset)
        for number in range(3 + len(keep)):
            os.dup2(64 + number, number)
        os.closerange(3 + len(keep), ruleset or 64)
        os.closerange((ruleset or 64) + 1, 1 << 20)
        processes = limits.processes + self.others
        memory = self.size + (limits.memory_mb + (64 if tests else 0)) * _MIB
        set_limits(limits, memory=memory, processes=processes, file_mb=16)
        if ruleset is None:
            ruleset = linux.landlock_ruleset(self.everything, [self.home, "/dev/null"])
        lock_in(ruleset, alone=alone, shared=self.plan.cgroup)
        gc.enable()

    def _watch(self, sides: "list[Side]", limits: Limits | None) -> dict[str, Any]:
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
            if leader in done:
                _kill(sides)
                if self.plan.namespaces:  # nobody can meet them: they may end while we go on
                    found |= {side.name: side.ending(waiting) for side in sides}
                    self.ending += sides
                    break
            if self.control.fileno() in ready:
                with contextlib.suppress(Exception):
                    self.control.receive()  # it says that time is up, or is closed
                found.setdefault("over", "stop")
                _kill(sides)
            elif limits is not None and not ready:
                over = self._over(sides, limits)
                if over:
                    found.setdefault("over", over)
                    _kill(sides)
        if self.examiner is not None and self.examiner.over:
            self.examiner = None
        if not self.plan.namespaces:
            end_all(spared=[self.examiner.process] if self.examiner else [])
        return found

    def _over(self, sides: "list[Side]", limits: Limits) -> str | None:
        """Which limit a side of a pair has passed."""
        for side in sides:
            cpu_s, memory = side.usage.look()
            if cpu_s - side.cpu_before > limits.cpu_s:
                return f"{side.name} cpu"
            if memory > self.size // 4 + (limits.memory_mb + 64) * _MIB:
                return f"{side.name} memory"
        return None


class Side:
    """One process of a run, watched from outside; `line` leads to one that is kept between runs."""

    def __init__(self, name: str, process: int, line: Channel | None = None) -> None:
        self.name, self.process, self.line = name, process, line
        self.handle = os.pidfd_open(process)
        self.usage = Usage(process, with_root=True)
        self.cpu_before = 0.0
        self.over = False

    def begin(self, descriptors: tuple[int, ...]) -> None:
        """Give a kept process its next run."""
        assert self.line is not None
        self.cpu_before = time.clock_gettime(_clock_of(self.process))
        self.line.send(None, descriptors)

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
        waiting.unregister(self.handle)
        if self.line is not None:
            waiting.unregister(self.line)
            with contextlib.suppress(ClosedError):
                self.line.receive()
                used = time.clock_gettime(_clock_of(self.process)) - self.cpu_before
                return {"status": 0, "cpu_s": used}
            self.line.close()
        self.over = True
        os.close(self.handle)
        _, status, used = os.wait4(self.process, 0)
        return {"status": status, "cpu_s": used.ru_utime + used.ru_stime - self.cpu_before}

    def ending(self, waiting: select.poll) -> dict[str, Any]:
        """As `ended`, of one that has just been killed and need not be waited for."""
        waiting.unregister(self.handle)
        used = 0.0
        with contextlib.suppress(OSError):  # it may have gone meanwhile
            used = time.clock_gettime(_clock_of(self.process))
        return {"status": signal.SIGKILL.value, "cpu_s": max(used, sum(self.usage.cpu_of.values()))}

    def kill(self) -> None:
        """End it."""
        os.kill(self.process, signal.SIGKILL)


def _kill(sides: list[Side]) -> None:
    for side in sides:
        side.kill()


def _clock_of(process: int) -> int:
    """The clock of a process's own time, as clock_getcpuclockid makes it."""
    return (~process << 3) | 2


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
