"""The kernel's own account of a worker: total memory and processes, exact, where we may make one.

Version 1 as most containers have it, one hierarchy per resource; version 2 where a folder with these
resources has been delegated to us.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "midfill-"


@dataclass(frozen=True, slots=True)
class Group:
    """The folders of one worker, by resource; with version 2 they are the same folder."""

    memory: Path
    pids: Path
    unified: bool

    @property
    def folders(self) -> list[str]:
        """Each folder once."""
        return sorted({str(self.memory), str(self.pids)})

    def usage(self) -> int:
        """Bytes in use."""
        name = "memory.current" if self.unified else "memory.usage_in_bytes"
        return int((self.memory / name).read_text())

    def allow(self, memory: int, processes: int) -> None:
        """Set the limits of the next run: bytes of memory in all, and processes in all."""
        if self.unified:
            (self.memory / "memory.swap.max").write_text("0")
            (self.memory / "memory.max").write_text(str(memory))
        else:
            both = self.memory / "memory.memsw.limit_in_bytes"  # only where swap is accounted for
            with contextlib.suppress(OSError):
                if both.exists():
                    both.write_text("-1")
            (self.memory / "memory.limit_in_bytes").write_text(str(memory))
            with contextlib.suppress(OSError):
                if both.exists():
                    both.write_text(str(memory))
        (self.pids / "pids.max").write_text(str(processes))

    def kills(self) -> int:
        """How often the kernel has ended a process here because memory was out."""
        name = "memory.events" if self.unified else "memory.oom_control"
        for line in (self.memory / name).read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """Remove the folders, once the last process in them has ended."""
        for folder in self.folders:
            remove(Path(folder))


def remove(folder: Path, patience_s: float = 5.0) -> None:
    """Remove a group's folder; one that is still in use after that time stays."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)


def make(name: str) -> Group | None:
    """A new group, or None where we may not make one."""
    sweep()
    name = f"{_PREFIX}{os.getpid()}-{name}"
    for memory, pids, unified in _places():
        group = Group(memory / name, pids / name, unified)
        try:
            for folder in group.folders:
                Path(folder).mkdir()
            group.allow(1 << 30, 100)
            group.usage()
        except (OSError, ValueError):
            group.remove()
            continue
        return group
    return None


def _places() -> list[tuple[Path, Path, bool]]:
    """Folders in which a group might be made: for memory, for pids, and whether it is version 2."""
    places = []
    if (_ROOT / "memory/memory.limit_in_bytes").exists() or (
        _ROOT / "memory/cgroup.procs"
    ).exists():
        places.append((_ROOT / "memory", _ROOT / "pids", False))
    for root in (_ROOT, _ROOT / "unified"):
        controllers = root / "cgroup.controllers"
        if controllers.exists() and {"memory", "pids"} <= set(controllers.read_text().split()):
            own = root / _own_path().lstrip("/")
            places += [(place, place, True) for place in (own, own.parent) if place.is_dir()]
    return places


def _own_path() -> str:
    """Where version 2 has this process."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def sweep() -> None:
    """Remove groups of supervisors that are gone, in case their keepers were ended, too."""
    for memory, pids, _ in _places():
        for place in {memory, pids}:
            for folder in place.glob(f"{_PREFIX}*"):
                owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
                if owner.isdigit() and not Path("/proc", owner).exists():
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def settled(group: Group, attempts: int = 50) -> int:
    """Bytes in use once a run is over."""
    for _ in range(attempts):
        with contextlib.suppress(OSError, ValueError):
            return group.usage()
        time.sleep(0.01)
    return 0
