"""What a process that the zygote has forked does: find its place, lock itself in, do its part.

Programs, their tests and the first processes of boxes are such. All but the last say when they are
confined, or why they cannot be, and then wait for what they are to run.
"""

import gc
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from midfill.sandbox import box_init, candidate, linux, trial
from midfill.sandbox.channel import Channel
from midfill.sandbox.confine import Plan, lock_in, own_directory, set_limits, show_processes
from midfill.sandbox.processes import be_killed_first
from midfill.sandbox.verdict import Limits

READY, DONE, LAST = "ready", "done", "last"
KEPT = Limits(cpu_s=1e6, memory_mb=1024)  # of a process that is kept for trusted tests
MOST_KEPT_MB = 256  # that a kept process may have had in use: it might not give it back
TESTS_MB = 64  # that tests may use besides, for what the program's answers become
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Child:
    """What a child knows from its zygote."""

    plan: Plan
    home: str  # the directory that it may write to
    read: tuple[str, ...]  # what it may read
    ruleset: int  # of Landlock, for processes that may write nothing: a descriptor
    size: int  # bytes of addresses that the zygote has
    others: int = 0  # threads of the same user that the kernel counts with its own

    def program(self, limits: Limits, line: Channel) -> None:
        """Wait for a program, then run it for its tests."""
        line = self._begin(limits, line, alone=not self.plan.namespaces)
        _, (calls, code, output) = line.receive_all()
        line.close()
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
        source = Channel.of(code)
        text = source.receive()
        source.close()
        assert isinstance(text, str)
        candidate.run(text, Channel.of(calls))

    def tests(self, limits: Limits, line: Channel) -> None:
        """Wait for tests, then run them."""
        _try(self._begin(limits, line, alone=True, tests=True))

    def examine(self, line: Channel) -> None:
        """Wait for tests and run them, again and again, until one has taken much memory."""
        line = self._begin(KEPT, line, alone=True, tests=True)
        said = DONE
        while said == DONE:
            _try(line)
            gc.collect()
            most_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            said = DONE if most_kib < MOST_KEPT_MB << 10 else LAST
            line.send(said)

    def box(self, limits: Limits, link: int) -> None:
        """Run programs in a directory when asked."""
        self._live_with_parent()
        if self.plan.namespaces:
            own_directory(limits, self.home)
            show_processes()
        os.dup2(link, 3)
        os.closerange(4, 1 << 20)
        linux.drop_capabilities()
        place = box_init.Place(
            directory=self.home,
            read=(*self.read, "/proc/self"),
            write=(self.home, "/dev/null"),
            others=self.others,
            exact=self.plan.cgroup,
        )
        box_init.serve(Channel.of(3), place)

    def _begin(self, limits: Limits, line: Channel, *, alone: bool, tests: bool = False) -> Channel:
        """All that comes before anything of others is run; the line to wait on for that.

        `alone`: it may start no processes and write to nothing. Else it gets a directory of its own.
        """
        try:
            self._confine(limits, line, alone=alone, tests=tests)
        except (OSError, ValueError) as error:
            line.send(str(error))
            raise
        line = Channel.of(3)
        line.send(READY)
        return line

    def _confine(self, limits: Limits, line: Channel, *, alone: bool, tests: bool) -> None:
        self._live_with_parent()
        if not tests:
            be_killed_first()
        ruleset = self.ruleset
        if not alone:
            own_directory(limits, self.home)
            show_processes()
            ruleset = linux.landlock_ruleset(self.read, [self.home, "/dev/null"])
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)  # not the zygote's: its flags would be shared
        _renumber((nothing, nothing, nothing, line.fileno(), ruleset))
        memory = self.size + (limits.memory_mb + TESTS_MB * tests) * _MIB
        processes = limits.processes + self.others
        set_limits(limits, memory=memory, processes=processes, file_mb=16)
        lock_in(4, alone=alone, shared=self.plan.cgroup)
        gc.enable()

    def _live_with_parent(self) -> None:
        if not self.plan.namespaces:  # in one, it ends with the zygote anyway
            linux.prctl(linux.PARENT_DIES, signal.SIGKILL)


def _renumber(descriptors: Iterable[int]) -> None:
    """Give descriptors the numbers 0, 1, 2 ... and close all others."""
    count = 0
    for count, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, 64 + count)
    for number in range(count):
        os.dup2(65 + number, number)
    os.closerange(count, 1 << 20)


def _try(line: Channel) -> None:
    """Wait for tests, and run them."""
    _, (calls, report) = line.receive_all()
    said, asked = Channel.of(report), Channel.of(calls)
    tests, entry_point = said.receive()  # type: ignore[misc]
    trial.run(tests, entry_point, said, asked)
    said.close()
    asked.close()
