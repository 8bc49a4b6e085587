"""Rows 28-44, 68 and 73: other processes, survivors, time, privileges."""

import contextlib
import json
import os
import pty
import sys
from typing import TYPE_CHECKING

from attacks.attack import Attack, Effect, Ran
from attacks.host import SYSTEM_PYTHON
from midfill.sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from attacks.host import Host

SIGNAL = """
for attempt in (
    lambda: os.kill(H["victim"], signal.SIGKILL),
    lambda: os.killpg(H["victim"], signal.SIGKILL),
    lambda: call(200, 130, H["victim"], 9),
    lambda: call(234, 131, H["victim"], H["victim"], 9),
    lambda: call(129, 138, H["victim"], 9, struct.pack("=iii", 9, 0, -1) + bytes(116)),
):
    try:
        attempt()
    except OSError:
        pass
"""


def victim_died(host: "Host", _: object) -> str | None:
    """Whether the waiting process outside was ended."""
    return None if host.victim_lives() else "the victim was ended"


EVERYBODY = """
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
"""

TRACE = """
ATTACH, DETACH, SEIZE = 16, 17, 0x4206
seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
for process in {H["victim"], os.getppid(), H["supervisor"], 1, *seen} - {os.getpid()}:
    for request in (SEIZE, ATTACH):
        if call(101, 117, request, process, 0, 0) == 0:
            if process == H["victim"]:
                os.waitpid(process, 0x40000000) if request == ATTACH else None
                call(101, 117, DETACH, process, 0, 0)
            won()
            break
"""

OTHER_MEMORY = """
into = ctypes.create_string_buffer(H["size"])
here = struct.pack("@PN", ctypes.addressof(into), H["size"])
there = struct.pack("@PN", H["address"], H["size"])
if call(310, 270, H["victim"], here, 1, there, 1, 0) > 0:
    say(into.raw)
if call(311, 271, H["victim"], here, 1, there, 1, 0) > 0:
    won()
"""

OTHER_DESCRIPTOR = """
handle = call(434, 434, H["victim"], 0)
if handle >= 0:
    got = call(438, 438, handle, H["held"], 0)
    if got >= 0:
        say(os.pread(got, 100, 0))
    if call(424, 424, handle, 0, None, 0) == 0:
        won()
"""

FORK_BOMB = """
alive = []
for _ in range(300):
    try:
        child = os.fork()
    except OSError:
        break
    if child == 0:
        time.sleep(20)
        os._exit(0)
    alive.append(child)
if len(alive) == 300:
    won()
"""

THREAD_BOMB = """
import threading
threading.stack_size(1 << 16)
stop = threading.Event()
try:
    for number in range(600):
        threading.Thread(target=stop.wait, args=(3,), daemon=True).start()
    won()
except RuntimeError:
    pass
stop.set()
"""

SURVIVOR = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1024):
            try:
                os.close(number)
            except OSError:
                pass
        for number in range(1, 32):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_IGN)
        time.sleep(20)
    os._exit(0)
os.wait()
"""

HOLDER = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(8)
    os._exit(0)
os.wait()
"""


def outlasts(seconds: float) -> Effect:
    """It got through if the run took at least this long, or had to be cut where nothing protects."""

    def effect(_: "Host", ran: Ran) -> str | None:
        through = ran.status == "cut" or ran.wall_s >= seconds
        return f"it ran for {ran.wall_s:.1f} s" if through else None

    return effect


ENDLESS = """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
"""

STOPPED = """
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(20)
"""

ASLEEP = """
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
time.sleep(20)
"""

SETUID = """
import subprocess
try:
    if subprocess.run([H["privileged"], "-u"], stdout=subprocess.PIPE).stdout.strip() == b"0":
        won()
except OSError:
    pass
for path in ("/usr/bin/passwd", "/usr/bin/su", "/bin/su"):
    try:
        waiting = subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        continue
    for _ in range(10):
        try:
            status = open("/proc/%d/status" % waiting.pid).read()
        except OSError:
            break
        uids = status.split("Uid:")[1].split()[:4]
        if uids[0] != uids[1]:
            won()
            break
        time.sleep(0.01)
    waiting.kill()
    waiting.wait()
"""

NEW_PRIVILEGES = """
libc.prctl(38, ctypes.c_ulong(0), 0, 0, 0)
if libc.prctl(39, 0, 0, 0, 0) == 0:
    won()
"""

OWN_LIMITS = """
import resource
for name in ("NOFILE", "NPROC", "CORE", "CPU", "FSIZE", "AS", "STACK", "MSGQUEUE", "NICE", "RTPRIO"):
    what = getattr(resource, "RLIMIT_" + name)
    _, most = resource.getrlimit(what)
    if most == resource.RLIM_INFINITY:  # lower it first: to raise it again is what only root may
        resource.setrlimit(what, (1 << 40, 1 << 40))
        most = 1 << 40
    try:
        resource.setrlimit(what, (most + 1, most + 1))
        say(name)
        won()
    except (OSError, ValueError):
        if os.getuid() == 0:
            lacking("CAP_SYS_RESOURCE, even for root")
"""

# Not in the specification's list. Without a limit on limits, a program can end another one of the
# same user by allowing it no more processor time.
OTHERS_LIMITS = """
import resource
for process in {H["victim"], H["supervisor"], os.getppid()} - {0}:
    try:
        soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
        say("%d has %d, " % (process, soft))
        resource.prlimit(process, resource.RLIMIT_NOFILE, (soft, hard))
        won()
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process))
        won()
    except OSError:
        pass
    try:
        os.sched_setaffinity(process, os.sched_getaffinity(process))
        won()
    except OSError:
        pass
"""

# Nor is this. A scheduler that waits for everybody else stops the victim, and everything that the
# zygote forks afterwards. Where all of a user's processes are meant, they get what they have.
OTHERS_PRIORITY = """
USER, BATCH = 2, 3
victim, attributes = H["victim"], struct.pack("=IIQiI3Q", 48, BATCH, 0, 0, 0, 0, 0, 0)
if 0 in (
    call(144, 119, victim, BATCH, struct.pack("=i", 0)),
    call(142, 118, victim, struct.pack("=i", 0)),
    call(314, 274, victim, attributes, 0),
    call(251, 30, 1, victim, 2 << 13 | 7),
):
    won()
# EACCES: the kernel has looked, and one of them has less and may not get it back.
if call(141, 140, USER, 0, os.getpriority(USER, 0)) == 0 or ctypes.get_errno() == errno.EACCES:
    won()
"""

PRIORITY = """
for attempt in (
    lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
    lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
):
    try:
        attempt()
        won()
    except OSError:
        pass
"""

TYPE_AHEAD = """
import fcntl
ends = [0, 1, 2]
try:
    ends.append(os.open("/dev/tty", os.O_RDWR))
except OSError:
    pass
for end in ends:
    for command in (0x5412, 0x5412 | 1 << 40):  # the kernel looks at 32 bits of the command only
        if libc.syscall(ctypes.c_long(16 if X86 else 29), end, ctypes.c_ulong(command), b"x") == 0:
            won()
"""


def under_a_terminal(host: "Host", sandbox: Sandbox) -> str | None:
    """A supervisor whose stdin is a terminal, in a session that the terminal controls."""
    program = _attack(44).text(host)
    reading, writing = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.set_inheritable(writing, True)
        command = [sys.executable, "-m", "attacks.terminal", sandbox.level, str(writing)]
        environment = os.environ | {"ATTACK": program}
        os.execve(sys.executable, command, environment)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    words = b""
    with contextlib.suppress(OSError):  # the way a terminal ends
        words = b"" if said else os.read(terminal, 4000)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert said, (status, words)
    said = json.loads(said)
    return "it typed into the terminal" if host.marker in said["output"] else None


def _attack(number: int) -> Attack:
    return next(attack for attack in ATTACKS if attack.number == number)


def terminal_alone(host: "Host") -> str | None:
    """The same program without a sandbox, in a session of its own."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, "-c", _attack(44).text(host)])
    said = b""
    with contextlib.suppress(OSError):  # the way a terminal ends
        while data := os.read(terminal, 1000):
            said += data
    os.waitpid(child, 0)
    os.close(terminal)
    return "it typed into the terminal" if host.marker.encode() in said else None


_CPU = Limits(cpu_s=1, wall_s=20, memory_mb=512)
_WALL = Limits(cpu_s=1, wall_s=1, memory_mb=512)

ATTACKS = [
    Attack(number=28, name="signal a host process", program=SIGNAL, effect=victim_died),
    Attack(number=29, name="kill(-1)", program=EVERYBODY, effect=victim_died, fatal=True),
    Attack(number=30, name="ptrace attach", program=TRACE),
    Attack(number=31, name="process_vm_readv, _writev", program=OTHER_MEMORY),
    Attack(number=32, name="pidfd_getfd, pidfd_send_signal", program=OTHER_DESCRIPTOR),
    Attack(number=33, name="fork bomb, 300 children", program=FORK_BOMB, held_by="NPROC",
           patience=1),
    Attack(number=34, name="thread bomb, 600 threads", program=THREAD_BOMB, held_by="NPROC, AS"),
    Attack(number=35, name="setsid double fork survives", program=SURVIVOR),
    Attack(number=36, name="grandchild holds stdout", program=HOLDER, effect=outlasts(7.5),
           patience=4),
    Attack(number=37, name="endless loop, signals ignored", program=ENDLESS, limits=_CPU,
           effect=outlasts(40), patience=6, held_by="CPU, hard"),
    Attack(number=38, name="SIGSTOP itself, then sleep", program=STOPPED, limits=_WALL,
           effect=outlasts(10), patience=4),
    Attack(number=39, name="sleep forever", program=ASLEEP, limits=_WALL, effect=outlasts(10), patience=4),
    Attack(number=40, name="setuid program with privileges", program=SETUID),
    Attack(number=41, name="no_new_privs unset", program=NEW_PRIVILEGES),
    Attack(number=42, name="raise own limits", program=OWN_LIMITS,
           needs_root="hard limits only go down"),
    Attack(number=43, name="negative nice, real-time class", program=PRIORITY,
           needs_root="the kernel keeps priorities for root"),
    Attack(number=44, name="TIOCSTI into the terminal", program=TYPE_AHEAD,
           drive=under_a_terminal,
           alone=terminal_alone),
    Attack(number=68, name="limits, priority of other processes", program=OTHERS_LIMITS),
    Attack(number=73, name="scheduler, priority of all others", program=OTHERS_PRIORITY),
]  # fmt: skip
