"""A model for a verb: fetched and loaded with progress on stderr, on the cores nobody else uses."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from midfill.errors import ConfigError
from midfill.hub import default_model, resolve
from midfill.terminal import show

if TYPE_CHECKING:
    from midfill.engine.text import Coder

SHORTEST_LOOK_S = 0.1  # at what the cores do: the system counts in hundredths of a second


def load_model(
    name: str | None, *, dtype: str, device: str, context: int | None, threads: int | None,
    quiet: bool,
) -> "Coder":  # fmt: skip
    """The model called `name`, or the default one. `threads` None: one for each idle core."""
    if threads is not None and threads < 1:
        raise ConfigError("--threads must be at least 1", why=f"it is {threads}", fix="--threads 1")
    name = name or default_model()
    with show.progress(quiet=quiet) as report:
        resolve(name, progress=report)
    show.note(f"loading {name} ...", quiet=quiet)
    others = Others()  # looked at while torch is imported
    import torch

    from midfill import load

    most = torch.get_num_threads()  # one per core, or OMP_NUM_THREADS
    if threads is None and most > 1:
        threads = min(most, idle_cores(others.busy_cores()))
    if threads is not None:
        torch.set_num_threads(threads)
    return load(name, dtype=dtype, device=device, context=context)


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
