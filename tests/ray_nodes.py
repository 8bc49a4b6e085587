"""A Ray cluster on this machine: a head without cores, and nodes of one core, all real processes."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import midfill

_START_S = 120
_MEMORY = "100000000"  # bytes of each node's object store; tasks and notes are small


@dataclass
class Nodes:
    """What was started, with the means to hurt it."""

    python: str
    folder: Path  # of the session; short, since paths of sockets are
    address: str = ""
    environment: dict[str, str] = field(default_factory=dict)  # a driver needs it too
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, *before: str) -> int:
        """One more node, and its number; `before` is put before its command."""
        self.start("--address", self.address, "--num-cpus", "1", before=before)
        return len(self.started) - 1

    def start(self, *arguments: str, before: Sequence[str] = ()) -> None:
        """Start a head or a node, each the leader of a session, and wait until it is there."""
        ray = [self.python, "-m", "ray.scripts.scripts"]
        command = [*before, *ray, "start", *arguments, "--block", "--disable-usage-stats"]
        command += ["--object-store-memory", _MEMORY]
        with (self.folder / f"node{len(self.started)}.log").open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | self.environment,
                )
            )
        self._wait("Ray runtime started", len(self.started) - 1)

    def log(self) -> str:
        """What the heads and nodes have printed."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("node*.log")))

    def workers(self, node: int, named: str = "ray::") -> list[int]:
        """Processes of a node that run tasks, or, as `named` says, some of them."""
        names = {pid: _name(pid) for pid in session(self.started[node].pid)}
        return [
            pid for pid, name in names.items() if name.startswith(named) and "Agent" not in name
        ]

    def kill(self, node: int) -> None:
        """End a node with all its processes, as a power cut would."""
        for pid in session(self.started[node].pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _wait(self, text: str, process: int) -> None:
        """Until a process has printed this."""
        log, end = self.folder / f"node{process}.log", time.monotonic() + _START_S
        while text not in log.read_text():
            if self.started[process].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no Ray here:\n{self.log()}")
            time.sleep(0.2)


@contextlib.contextmanager
def ray_nodes(count: int, python: str = sys.executable) -> Iterator[Nodes]:
    """A running cluster; all its processes are ended with the block."""
    nodes = Nodes(python, Path(tempfile.mkdtemp(prefix="ray")))
    # Else whoever reaches the port may run programs here; default only from Ray 2.61 on.
    nodes.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    nodes.environment["RAY_raylet_start_wait_time_s"] = str(
        _START_S
    )  # 30 on busy machines is short
    nodes.environment["PYTHONPATH"] = str(Path(midfill.__file__).parent.parent)
    try:
        head = ("--head", "--port", "0", "--num-cpus", "0", "--temp-dir", str(nodes.folder))
        nodes.start(*head, "--include-dashboard", "False")
        nodes.address = (nodes.folder / "ray_current_cluster").read_text().strip()
        for _ in range(count):  # at once they would choose the same ports
            nodes.add()
        yield nodes
    finally:
        for i in reversed(range(len(nodes.started))):
            nodes.kill(i)
            nodes.started[i].wait()
        shutil.rmtree(nodes.folder, ignore_errors=True)


def session(leader: int) -> list[int]:
    """Processes of a session: Ray gives each of its workers a group of its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(path.parent.name))
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""
