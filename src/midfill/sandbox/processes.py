"""Trees of processes: what they use, how they ended, and how to end them."""

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

TICK = 0.02  # seconds between looks at what a tree of processes uses
_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """Process ids of the children of `root`, their children, and so on, as /proc shows them now.

    Every process stands behind its parent.
    """
    found, at = [], [root]
    while at:
        children = _children(at.pop())
        found += children
        at += children
    return found


def _children(process: int) -> list[int]:
    children = []
    with contextlib.suppress(OSError, ValueError):  # it may end meanwhile
        for thread in Path(f"/proc/{process}/task").iterdir():
            text = (thread / "children").read_text()
            children += [int(number) for number in text.split()]
    return children


class Usage:
    """What a tree of processes uses, looked at again and again.

    Children that lived between two looks count once their parent has waited for them. One whose parent
    ignores SIGCHLD is in nobody's time when it ends: for those the clock alone is the limit.
    """

    def __init__(self, root: int, *, with_root: bool) -> None:
        self.root, self.with_root = root, with_root
        # The last seen time of each, so that the dead still count. A number may be given twice.
        self.cpu_of: dict[tuple[int, int], float] = {}
        self.waited_for = 0.0  # the most that the living had, with the children they waited for

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time up to the last look."""
        return max(sum(self.cpu_of.values()), self.waited_for)

    def look(self) -> tuple[float, int]:
        """Seconds of processor time so far, and bytes of memory in use now, of all together."""
        memory, living = 0, 0.0
        # Parents first: a child that is waited for in between is missed once, never counted twice.
        for process in [self.root] * self.with_root + descendants(self.root):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                own, waited_for = (
                    (int(fields[at]) + int(fields[at + 1])) / _TICKS for at in (11, 13)
                )
                self.cpu_of[process, int(fields[19])] = own
                living += own + waited_for
                memory += _memory(process)
        self.waited_for = max(self.waited_for, living)
        return self.cpu_s, memory


def time_of(process: int) -> float:
    """Seconds of processor time of one process, without its children. Raises OSError."""
    return time.clock_gettime((~process << 3) | 2)  # its clock, as clock_getcpuclockid makes it


def _memory(process: int) -> int:
    """Bytes of a process that no file backs; what it shares with others counts for each."""
    kib = 0
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            kib += int(line.split()[1])
    return kib << 10


def signal_name(number: int) -> str:
    """The name of a signal, for people; of those without one, its number."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return f"signal {number}"


def ended_at_cpu_limit(status: int, cpu_s: float, limit_s: float) -> bool:
    """Whether a process that ended with this status of `wait` did so for its processor time."""
    if not os.WIFSIGNALED(status):
        return False
    number = os.WTERMSIG(status)
    return number == signal.SIGXCPU or (number == signal.SIGKILL and cpu_s >= limit_s)


def be_killed_first() -> None:
    """When memory of a cgroup runs out, the kernel is to end this process and its children."""
    with contextlib.suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"900")
        os.close(score)


def end_all(unwaited: Collection[int] = (), spared: Collection[int] = ()) -> None:
    """Kill every descendant and wait for it, those it starts meanwhile too.

    Children in `unwaited` are killed but not waited for, those in `spared` live on. This process must
    be the first of its pid namespace, or a subreaper: then no orphan escapes.
    """
    me = os.getpid()
    while True:
        living = [process for process in descendants(me) if process not in spared]
        alive = [process for process in living if process not in unwaited]
        for sign in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none forks meanwhile
            for process in (*alive, *unwaited):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sign)
        for child in _children(me):
            if child not in (*unwaited, *spared):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, 0)
        if not alive:
            return
