"""A Ray cluster on this machine: a head without cores, and nodes of one core, all real processes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
_START_S = 120
_MEMORY = "100000000"  # bytes of each node's object store; tasks and notes are small


@dataclass
class Nodes:
    """What was started, with the means to hurt it."""

    python: str
    folder: Path  # of the session; short, since paths of sockets are
    address: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str) -> None:
        """Start a head or a node, each the leader of a process group."""
        command = [self.python, "-m", "ray.scripts.scripts", "start", *arguments, "--block"]
        command += ["--node-ip-address", HOST, "--object-store-memory", _MEMORY]
        with (self.folder / f"node{len(self.started)}.log").open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    [*command, "--disable-usage-stats"],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def log(self) -> str:
        """What the heads and nodes have printed."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("node*.log")))

    def workers(self, node: int) -> list[int]:
        """Processes of a node that run tasks now."""
        return [
            pid
            for pid in _group(self.started[node].pid)
            if _name(pid).startswith("ray::") and "Agent" not in _name(pid)
        ]

    def kill(self, node: int) -> None:
        """End a node with all its processes, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.started[node].pid, signal.SIGKILL)

    def wait(self, text: str, process: int) -> None:
        """Until a process has printed this."""
        log, end = self.folder / f"node{process}.log", time.monotonic() + _START_S
        while text not in log.read_text():
            if self.started[process].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no Ray here:\n{self.log()}")
            time.sleep(0.2)


@contextlib.contextmanager
def ray_nodes(count: int, python: str = sys.executable) -> Iterator[Nodes]:
    """A running cluster; all its processes are ended with the block."""
    nodes = Nodes(python, Path(tempfile.mkdtemp(prefix="ray", dir="/tmp")))
    try:
        head = ("--head", "--port", "0", "--num-cpus", "0", "--temp-dir", str(nodes.folder))
        nodes.start(*head, "--include-dashboard", "False")
        nodes.wait("Ray runtime started", 0)
        nodes.address = (nodes.folder / "ray_current_cluster").read_text().strip()
        for number in range(1, count + 1):  # at once they would choose the same ports
            nodes.start("--address", nodes.address, "--num-cpus", "1")
            nodes.wait("Ray runtime started", number)
        yield nodes
    finally:
        for i in reversed(range(len(nodes.started))):
            nodes.kill(i)
            nodes.started[i].wait()
        shutil.rmtree(nodes.folder, ignore_errors=True)


def _group(leader: int) -> list[int]:
    """Processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                found.append(int(path.parent.name))
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""
