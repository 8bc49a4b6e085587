"""How many processor threads to use: those that no other process wants.

Threads of one product wait for each other. When another process takes a core, the one that sits
there holds up all the rest: on two cores, two threads are then slower than one (dev/LOG.md).
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

SHORTEST_LOOK_S = 0.1  # at what the cores do: the system counts in hundredths of a second
LOOK_AGAIN_S = 1.0


class Threads:
    """Keeps the threads of whatever computes, at most `most`, on the cores that others leave."""

    def __init__(self, busy: float, most: int, use: Callable[[int], None]) -> None:
        """`busy` cores are taken by others now; `use` sets how many threads compute."""
        self.most, self.use, self.count = most, use, 0
        self._looking = threading.Lock()  # several requests' threads may look at the same time
        self._use(busy)

    def adapt(self) -> None:
        """Look again if the last look is a while ago; cheap enough for every step."""
        if self.most == 1 or time.monotonic() - self.others.start < LOOK_AGAIN_S:
            return
        if self._looking.acquire(blocking=False):
            try:
                self._use(self.others.busy_cores())
            finally:
                self._looking.release()

    def _use(self, busy: float) -> None:
        wanted = min(self.most, idle_cores(busy))
        if wanted != self.count:
            self.use(wanted)
            self.count = wanted
        self.others = Others()


def most_threads() -> int:
    """One for each core, unless OMP_NUM_THREADS says otherwise."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores()) if asked.isdigit() and int(asked) > 0 else cores()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def idle_cores(busy: float) -> int:
    """How many cores the others leave: threads that wait for a busy one slow all the rest down."""
    return max(cores() - round(busy), 1)


class Others:
    """What other processes do on the cores this one may use, from now on.

    The load average would not do: it still counts the verb that ended a minute ago.
    """

    def __init__(self) -> None:
        self.start, self.worked, self.ours = time.monotonic(), _worked(), time.process_time()

    def busy_cores(self) -> float:
        """How many cores' time they have taken since; by the load average where nothing tells."""
        wait = SHORTEST_LOOK_S - (time.monotonic() - self.start)
        if wait > 0:
            time.sleep(wait)
        now = _worked()
        if now is None or self.worked is None:
            return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        ours = time.process_time() - self.ours
        return max(now - self.worked - ours, 0.0) / (time.monotonic() - self.start)


def _worked() -> float | None:
    """Seconds that the cores this process may use have worked, for anybody; None: cannot be told."""
    try:
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        ticks = [[int(n) for n in line[1:9]] for line in lines if line[0] in mine]
    except (OSError, AttributeError, ValueError, IndexError):  # not Linux
        return None
    if not any(map(any, ticks)):  # a sandbox that shows zeros
        return None
    # user, nice, system, IDLE, WAITING for a disk, interrupts, soft interrupts, stolen
    return sum(sum(core) - sum(core[3:5]) for core in ticks) / os.sysconf("SC_CLK_TCK")
