"""Trees of processes: what they use, and how to end them."""

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """Process ids of the children of `root`, their children, and so on, as /proc shows them now."""
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
    """What a tree of processes uses, looked at again and again."""

    def __init__(self, root: int, *, with_root: bool) -> None:
        self.root, self.with_root = root, with_root
        self.cpu_of: dict[
            int, float
        ] = {}  # the last seen time of each, so that the dead still count

    def look(self) -> tuple[float, int]:
        """Seconds of processor time so far, and bytes of memory in use now, of all together."""
        memory = 0
        for process in [self.root] * self.with_root + descendants(self.root):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                self.cpu_of[process] = (int(fields[11]) + int(fields[12])) / _TICKS
                memory += _memory(process)
        return sum(self.cpu_of.values()), memory


def _memory(process: int) -> int:
    """Bytes of a process that no file backs; what it shares with others counts for each."""
    kib = 0
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            kib += int(line.split()[1])
    return kib << 10


def be_killed_first() -> None:
    """When memory of a cgroup runs out, the kernel is to end this process and its children."""
    with contextlib.suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"900")
        os.close(score)


def end_all(unwaited: Collection[int] = (), spared: Collection[int] = ()) -> None:
    """Kill every descendant and wait for it, those it starts meanwhile too.

    Children in `unwaited` are killed but not waited for, those in `spared` live on. This process must be the first of its pid
    namespace, or a subreaper: then no orphan escapes.
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
