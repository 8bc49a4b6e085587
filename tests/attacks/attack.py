"""What an attack is, and what all attack programs begin with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midfill.sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from attacks.host import Host

LIMITS = Limits(cpu_s=1, wall_s=4, memory_mb=512, disk_mb=64, files=4096, processes=64)

PRELUDE = """
import ctypes, errno, os, platform, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"

def call(x86, arm, *arguments):
    "A system call by its number on x86-64 or AArch64; numbers and pointers as 64-bit words."
    words = [ctypes.c_ulong(a & (1 << 64) - 1) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(x86 if X86 else arm), *words)

def say(data):
    "Not print: a program that has lost its interpreter's output can still do this."
    os.write(1, data if isinstance(data, bytes) else str(data).encode())

def won():
    say(H["marker"])

def lacking(what):
    "This kernel or machine has no such thing: nothing to attack."
    say("lacking: " + what + "\\n")

def refused(number, *absent):
    "Whether a call failed; if because the kernel has no such call, that is said."
    if number < 0 and ctypes.get_errno() in (absent or (errno.ENOSYS,)):
        lacking(os.strerror(ctypes.get_errno()))
    return number < 0
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What the supervisor's side got of a run."""

    output: bytes
    wall_s: float
    status: str  # of the verdict or outcome; "cut" where a run without protection had to be ended
    peak: int = 0  # bytes that all its processes used at one time
    left: tuple[str, ...] = ()  # names of files where it ran without protection


Effect = Callable[["Host", Ran], str | None]
Drive = Callable[["Host", Sandbox], str | None]
Alone = Callable[["Host"], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One row of the list.

    It got through if its program printed the marker or the secret, or left a process behind, or if
    `effect` says how. `drive` is for what one run of a program does not show, and `alone` its
    counterpart without a sandbox.
    """

    number: int
    name: str
    program: str = ""
    effect: Effect | None = None
    drive: Drive | None = None
    alone: Alone | None = None
    limits: Limits = LIMITS
    measured: bool = False  # its memory is looked at while it runs
    patience: float = 5.0  # seconds until a run without protection is ended
    held_by: str = ""  # which of the usual limits stops it without a sandbox
    needs_root: str = ""  # why only root can do it on a bare machine
    fatal: bool = False  # without protection it would end whoever runs it, unless as another user

    def text(self, host: "Host") -> str:
        """The program, with what it may know of the host."""
        return f"H = {host.facts()!r}\n{PRELUDE}\n{self.program}"
