"""Attacks that are tried on a worker before it is trusted with a level.

Each is a program that says `got through` if it did. A level whose worker lets one through is not
used. The last canary is the opposite: a right program must pass and a wrong one must not.
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
    for process in (1, PARENT, os.getppid()):
        try:
            if SECRET.encode() in open(f"/proc/{process}/environ", "rb").read():
                return True
        except OSError:
            pass
    return SECRET in os.environ.values()

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
"""

_EATERS = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        eaten = bytearray(b"x") * (60 << 20)
        time.sleep(20)
        os._exit(0)
time.sleep(20)
"""


def canaries(worker: Worker) -> str | None:
    """Why `worker` must not be trusted with its level; None: it withstood everything."""
    right = worker.sealed("def f(x): return x + 1", "assert f(1) == 2", "f", _LIMITS)
    wrong = worker.sealed("def f(x): return x", "assert f(1) == 2", "f", _LIMITS)
    if (right.status, wrong.status) != ("pass", "wrong"):
        return f"a right program is {right.status} ({right.detail}), a wrong one {wrong.status}"
    with _targets() as names:
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
    said = outcome.stdout.decode(errors="replace").strip() or outcome.stderr.decode(
        errors="replace"
    )
    return f"a canary {_THROUGH} or did not run: {said[-300:]}"


def _processes(worker: Worker) -> str | None:
    """What a program leaves running, and what its processes use together."""
    box = Box(worker, _LIMITS)
    try:
        box.write("survivor.py", _SURVIVOR.encode())
        box.write("eaters.py", _EATERS.encode())
        box.run((worker.python, "-I", "-S", "survivor.py"))
        box.write("count.py", _COUNT.encode())
        left = box.run((worker.python, "-I", "-S", "count.py"))
        if left.stdout.strip() not in (b"0", b""):
            return "a program's child outlives it"
        eaten = box.run((worker.python, "-I", "-S", "eaters.py"))
    finally:
        box.close()
    if eaten.ended != "memory":
        return f"several processes use more memory than allowed: {eaten.ended}"
    return None


_COUNT = """
import os
me = os.getpid()
def stat(p):
    try:
        return open(f"/proc/{p}/cmdline", "rb").read()
    except OSError:
        return b""
print(sum(b"survivor.py" in stat(p) for p in os.listdir("/proc") if p.isdigit()))
"""


@contextlib.contextmanager
def _targets() -> Iterator[str]:
    """Things to attack, and the lines of Python that name them."""
    secret = secrets.token_hex(16)
    name = f"midfill-canary-{secrets.token_hex(8)}"
    os.environ["MIDFILL_CANARY"] = secret
    victim = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ.get("PATH", "/usr/bin")})
    listener, abstract = socket.socket(), socket.socket(socket.AF_UNIX)
    try:
        with tempfile.TemporaryDirectory(prefix="midfill-canary-") as folder:
            file = Path(folder, "secret")
            file.write_text(secret)
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
                "CLONE": {"x86_64": 56}.get(os.uname().machine, 220),
            }
            yield "".join(f"{key} = {value!r}\n" for key, value in values.items())
    finally:
        os.environ.pop("MIDFILL_CANARY", None)
        listener.close()
        abstract.close()
        victim.kill()
        victim.wait()
