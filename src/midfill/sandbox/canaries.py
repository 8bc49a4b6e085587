"""Attacks that are tried on a worker before it is trusted with a level.

Each is a program that says `got through` if it did. A level whose worker lets one through is not
used. What they attack belongs to the user whom the worker's programs are outside: otherwise the
change of user would stop them, whether or not anything else does. The last canary is the opposite: a
right program must pass and a wrong one must not.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from midfill.sandbox.box import Box
from midfill.sandbox.confine import ENVIRONMENT
from midfill.sandbox.filter import MACHINES
from midfill.sandbox.processes import descendants
from midfill.sandbox.verdict import Limits
from midfill.sandbox.worker import Worker

_LIMITS = Limits(cpu_s=2, wall_s=8, memory_mb=128)
_THROUGH = "got through"

_PROGRAM = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name):
    try:
        return ATTEMPTS[name]()
    except Exception:
        return False

def secret():
    seen = set(os.environ)
    for process in ("self", 1, PARENT, VICTIM, os.getppid()):
        try:
            entries = open(f"/proc/{process}/environ", "rb").read().split(b"\\0")
            seen |= {os.fsdecode(entry.partition(b"=")[0]) for entry in entries}
        except OSError:
            pass
    return not seen.isdisjoint(VARIABLES)

def read():
    return open(FILE).read() == SECRET

def write():
    open(FILE, "w").write("changed")
    return True

def outside():
    open(FILE + ".new", "w").write("made")
    return True

def tcp():
    socket.create_connection(("127.0.0.1", PORT), 1)
    return True

def abstract():
    socket.socket(socket.AF_UNIX).connect("\\0" + NAME)
    return True

def kill():
    os.kill(VICTIM, 9)
    return True

def userns():
    return libc.unshare(0x10000000) == 0

def cloned():
    child = libc.syscall(CLONE, 0x10000000 | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return child > 0

def mounted():
    return libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0

ATTEMPTS = dict(secret=secret, read=read, write=write, outside=outside, tcp=tcp, abstract=abstract,
                kill=kill, userns=userns, cloned=cloned, mounted=mounted)
"""

_FORBIDDEN = (
    "secret", "read", "write", "outside", "tcp", "abstract", "kill", "mounted", "cloned", "userns",
)  # fmt: skip

_SURVIVOR = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
os.wait()
"""

_EATERS = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        eaten = bytearray(b"x") * (60 << 20)
        time.sleep(3)
        os._exit(0)
time.sleep(3)
"""


def canaries(worker: Worker) -> str | None:
    """Why `worker` must not be trusted with its level; None: it withstood everything."""
    right = worker.sealed("def f(x): return x + 1", "assert f(1) == 2", "f", _LIMITS)
    wrong = worker.sealed("def f(x): return x", "assert f(1) == 2", "f", _LIMITS)
    if (right.status, wrong.status) != ("pass", "wrong"):
        return f"a right program is {right.status} ({right.detail}), a wrong one {wrong.status}"
    with _targets(worker.uid) as names:
        through = _sealed(worker, names)
        if through is None and worker.level in ("A", "B", "C"):
            through = _boxed(worker, names)
    if through is None and worker.level in ("A", "B", "C"):
        through = _processes(worker)
    return through


def _sealed(worker: Worker, names: str) -> str | None:
    """Try everything as the program of a sealed verdict."""
    tests = "".join(f"assert attempt({name!r}) is False, {name!r}\n" for name in _FORBIDDEN)
    verdict = worker.sealed(names + _PROGRAM, tests, "attempt", _LIMITS)
    return None if verdict.passed else f"a canary {_THROUGH}: {verdict.detail}"


def _boxed(worker: Worker, names: str) -> str | None:
    """Try everything as a program in a box."""
    source = f"{names}{_PROGRAM}\nfor name in {_FORBIDDEN!r}:\n    if attempt(name): print(name)\nprint('end')"
    box = Box(worker, _LIMITS)
    try:
        box.write("canary.py", source.encode())
        outcome = box.run((worker.python, "-I", "-S", "canary.py"))
    finally:
        box.close()
    if outcome.stdout == b"end\n":
        return None
    said = (outcome.stdout.strip() or outcome.stderr).decode(errors="replace")
    return f"a canary {_THROUGH} or did not run: {said[-300:]}"


def _processes(worker: Worker) -> str | None:
    """What a program leaves running, and what its processes use together."""
    box = Box(worker, _LIMITS)
    try:
        box.write("survivor.py", _SURVIVOR.encode())
        box.write("eaters.py", _EATERS.encode())
        parent = box.run((worker.python, "-I", "-S", "survivor.py"))
        if not parent.ok:
            return f"a program cannot even leave a child behind: {parent.stderr[-300:]!r}"
        if any(b"survivor.py" in _command(process) for process in descendants(worker.keeper.pid)):
            return "a program's child outlives it"
        eaten = box.run((worker.python, "-I", "-S", "eaters.py"))
    finally:
        box.close()
    if eaten.ended != "memory":
        return f"several processes use more memory than allowed: {eaten.ended}"
    return None


def _command(process: int) -> bytes:
    """How a process was called; nothing if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


@contextlib.contextmanager
def _targets(user: int | None) -> Iterator[str]:
    """Things of this user, or of ours, to attack, and the lines of Python that name them."""
    secret = secrets.token_hex(16)
    name = f"midfill-canary-{secrets.token_hex(8)}"
    victim = subprocess.Popen(
        ["sleep", "600"],
        env={"PATH": os.environ.get("PATH", "/usr/bin"), name: secret},
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    listener, abstract = socket.socket(), socket.socket(socket.AF_UNIX)
    try:
        with tempfile.TemporaryDirectory(prefix="midfill-canary-") as folder:
            file = Path(folder, "secret")
            file.write_text(secret)
            if user is not None:
                for path in (folder, file):
                    os.chown(path, user, user)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            abstract.bind("\0" + name)
            abstract.listen()
            values = {
                "SECRET": secret,
                "FILE": str(file),
                "PORT": listener.getsockname()[1],
                "NAME": name,
                "VICTIM": victim.pid,
                "PARENT": os.getpid(),
                "VARIABLES": [name, *_own_variables()],
                "CLONE": MACHINES[os.uname().machine].clone,
            }
            yield "".join(f"{key} = {value!r}\n" for key, value in values.items())
    finally:
        listener.close()
        abstract.close()
        victim.kill()
        victim.wait()


def _own_variables() -> list[str]:
    """Names in our environment that no program may find in its own; short values tell nothing."""
    return [
        name for name, value in os.environ.items() if name not in ENVIRONMENT and len(value) > 7
    ]
