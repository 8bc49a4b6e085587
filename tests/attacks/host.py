"""The machine around a sandbox, made worth attacking: secrets, listeners, a victim.

All of it belongs to the user that sandboxed programs have outside, so that the file modes and the
kernel's check of users stop nothing: what holds is the sandbox.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from midfill.sandbox.worker import FIRST_UID, UIDS

SYSTEM_PYTHON = "/usr/bin/python3"  # readable by every user, unlike one in somebody's home
VARIABLE = "MIDFILL_ATTACK_SECRET"
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/dev/mqueue", "/", "/usr", "/etc")

_VICTIM = """
import ctypes, os, sys, time
secret = ctypes.create_string_buffer(open(sys.argv[1], "rb").read())
held = os.open(sys.argv[1], os.O_RDONLY)
libc = ctypes.CDLL(None)
libc.prctl(4, 1, 0, 0, 0)  # may be traced
libc.prctl(0x59616d61, ctypes.c_ulong(-1 & (1 << 64) - 1), 0, 0, 0)  # by anybody
print(ctypes.addressof(secret), len(secret), held, flush=True)
time.sleep(1000)
"""


class Host:
    """Targets and their values; a context in which they exist."""

    def __init__(self) -> None:
        self.root = os.getuid() == 0
        first = FIRST_UID + UIDS * os.getpid()
        self.uids = range(first, first + UIDS) if self.root else range(os.getuid(), os.getuid() + 1)
        self.uid = self.uids[-1]
        self.marker = "got-through-" + secrets.token_hex(8)
        self.secret = "secret-" + secrets.token_hex(16)
        self.name = "left-by-attack-" + secrets.token_hex(6)
        self.known: set[int] = set()

    def __enter__(self) -> "Host":
        self.folder = Path(tempfile.mkdtemp(prefix="midfill-attacks-"))
        self.folder.chmod(0o777)
        self.files = {}
        for name, mode in {"secret": 0o600, "hidden_tests.py": 0o644, "harness.py": 0o666}.items():
            self.files[name] = self.folder / name
            self.files[name].write_text(self.secret)
            self.files[name].chmod(mode)
            self._own(self.files[name])
        self.visible = None
        if Path("/dev/shm").is_dir():  # where careless harnesses keep them, for speed
            self.visible = Path(tempfile.mkdtemp(prefix="midfill-attacks-", dir="/dev/shm"))
            self.visible.chmod(0o755)
            self.files["shared"] = self.visible / "hidden_tests.py"
            self.files["shared"].write_text(self.secret)
            self._own(self.files["shared"])
        os.environ[VARIABLE] = self.secret
        # Left open and inheritable, as careless code does.
        self.descriptor = os.open(self.files["secret"], os.O_RDONLY)
        os.set_inheritable(self.descriptor, True)
        self._listen()
        self._setuid()
        self.victim: subprocess.Popen[bytes] | None = None
        self.ensure_victim()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.victim:
            self._end_victim()
        for end in (self.tcp, self.udp, self.abstract, self.path):
            end.close()
        os.close(self.descriptor)
        del os.environ[VARIABLE]
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.visible:
            shutil.rmtree(self.visible, ignore_errors=True)

    def _own(self, path: Path) -> None:
        if self.root:
            os.chown(path, self.uid, self.uid)

    def _listen(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.marker)
        self.path = socket.socket(socket.AF_UNIX)
        self.path.bind(str(self.folder / "daemon.sock"))
        (self.folder / "daemon.sock").chmod(0o777)
        for end in (self.abstract, self.path):
            end.listen()
        for end in (self.tcp, self.udp, self.abstract, self.path):
            end.setblocking(False)

    def _setuid(self) -> None:
        """A program of root's that anybody may start with root's rights, where we can make one."""
        self.privileged = self.folder / "id"
        if self.root:
            shutil.copy("/usr/bin/id", self.privileged)
            self.privileged.chmod(0o4755)

    def belong_to_the_worker(self) -> None:
        """Give everything to the user that the worker which runs now has outside."""
        used = {self._user(process) for process in self._processes()} - {self.uid, None}
        if used:
            self.uid = max(uid for uid in used if uid is not None)
            for path in self.files.values():
                self._own(path)
            assert self.victim is not None
            self.victim.kill()

    def ensure_victim(self) -> None:
        """A process of the same user that waits, holding the secret in memory and in a descriptor."""
        if self.victim and self.victim.poll() is None:
            return
        if self.victim:
            self._end_victim()
        self.victim = subprocess.Popen(
            [SYSTEM_PYTHON, "-I", "-S", "-c", _VICTIM, str(self.files["secret"]), self.secret],
            stdout=subprocess.PIPE,
            start_new_session=True,
            **self.identity(),
        )  # pyright: ignore[reportAttributeAccessIssue]
        assert self.victim is not None
        assert self.victim.stdout is not None
        self.address, self.size, self.held = map(int, self.victim.stdout.readline().split())

    def _end_victim(self) -> None:
        assert self.victim is not None
        assert self.victim.stdout is not None
        self.victim.kill()
        self.victim.wait()
        self.victim.stdout.close()

    def identity(self) -> dict[str, Any]:
        """Popen's arguments for a process of the attacked user."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []} if self.root else {}

    def facts(self) -> dict[str, object]:
        """What a program is told, so that it need not search."""
        assert self.victim is not None
        return {
            "marker": self.marker,
            "variable": VARIABLE,
            "folder": str(self.folder),
            "secret": str(self.files["secret"]),
            "tests": str(self.files["hidden_tests.py"]),
            "harness": str(self.files["harness.py"]),
            "source": str(Path(__file__).parents[2] / "src/midfill/sandbox/sandbox.py"),
            "privileged": str(self.privileged),
            "name": self.name,
            "shared": SHARED_FOLDERS,
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "socket": str(self.folder / "daemon.sock"),
            "supervisor": os.getpid(),
            "victim": self.victim.pid,
            "address": self.address,
            "size": self.size,
            "held": self.held,
        }

    def datagram(self) -> bool:
        """Whether somebody has sent something."""
        time.sleep(0.02)
        with contextlib.suppress(BlockingIOError):
            return bool(self.udp.recv(1000))
        return False

    def victim_lives(self) -> bool:
        """Whether the victim has not been ended."""
        assert self.victim is not None
        time.sleep(0.02)
        return self.victim.poll() is None

    def dropped(self) -> list[Path]:
        """Files of the agreed name in folders that all processes share; removed here."""
        found = []
        for folder in (*map(Path, SHARED_FOLDERS), self.folder):
            path = folder / self.name
            if path.exists():
                found.append(path)
                path.unlink()
        return found

    def remember_processes(self) -> None:
        """Take the processes that run now for ours."""
        self.known = set(self._processes())

    def strangers(self, wait_s: float = 1.0, among: Collection[int] | None = None) -> list[int]:
        """Living processes of the attacked user that were not there before, once they had time to end."""
        end = time.monotonic() + wait_s
        while True:
            left = [p for p in self._processes() if p not in self.known]
            left = [p for p in left if among is None or p in among]
            if not left or time.monotonic() >= end:
                return left
            time.sleep(0.01)

    def end_strangers(self, among: Collection[int] | None = None) -> None:
        """End them; stopped first, so that none starts another meanwhile."""
        while left := self.strangers(0, among):
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for process in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, number)
            time.sleep(0.01)

    def memory(self) -> int:
        """Bytes that the strangers use now, shared ones counted for each."""
        total = 0
        for process in self._processes():
            if process in self.known:
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                for line in Path(f"/proc/{process}/status").read_text().splitlines():
                    if line.startswith(("RssAnon:", "RssShmem:")):
                        total += int(line.split()[1]) << 10
        return total

    def _processes(self) -> list[int]:
        """Of the attacked users, but for ourselves and zombies."""
        found = []
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError, IndexError):
                if self._user(int(entry.name)) not in self.uids:
                    continue
                state = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    found.append(int(entry.name))
        return found

    @staticmethod
    def _user(process: int) -> int | None:
        """Whose it is; the owner of its folder in /proc may be root all the same."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("Uid:"):
                    return int(line.split()[1])
        return None
