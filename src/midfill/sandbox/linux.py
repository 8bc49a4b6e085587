"""What Linux offers to lock a process in, called through libc: no dependency, no compiled code.

Every function acts on the calling process, and raises OSError with the kernel's answer.
"""

import ctypes
import os
import platform
import signal
import stat
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from midfill.sandbox.filter import DENIED, MACHINES, filter_program

# namespaces
NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000

# mount
READ_ONLY, NOSUID, NODEV, NOEXEC, REMOUNT = 1, 2, 4, 8, 32
BIND, RECURSIVE, PRIVATE = 4096, 16384, 1 << 18
DETACH = 2

# prctl
PARENT_DIES, DUMPABLE, NO_NEW_PRIVILEGES, SECCOMP, CHILD_SUBREAPER = 1, 4, 38, 22, 36
CAPABILITY_BOUND_DROP, GET_THREAD_ID_PLACE = 24, 40

# clone
CHILD_CLEARTID, CHILD_SETTID = 0x200000, 0x1000000

# Landlock
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULE_PATH_BENEATH, VERSION = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
# What a plain file can have.
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
READ = EXECUTE | READ_FILE | READ_DIR
RIGHTS_BY_VERSION = (0, 13, 14, 15, 15, 16)  # how many bits of file rights a version knows
NETWORK, SCOPES = 3, 3  # bind and connect; abstract sockets and signals

# mount_setattr
MOUNT_SETATTR, AT_RECURSIVE = 442, 0x8000

# capset
CAPABILITY_VERSION, CAPABILITIES = 0x20080522, 64
_CAPABILITY_HEADER, _NO_CAPABILITIES = struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_holding = ctypes.PyDLL(None, use_errno=True)  # keeps the lock of Python, as a fork has to
_holding.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number."""
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones; of pids, the children do."""
    _checked(_libc.unshare(flags), "unshare")


def clone(namespaces: int) -> int:
    """Fork into new namespaces, or none; 0 in the child. The caller must have one thread only.

    Python's own hooks around a fork are left out: they make locks anew and seed `random`, which one
    thread does not need, and cost a child more than all that it does before its program begins.
    """
    machine = MACHINES[platform.machine()]
    flags, place = namespaces | signal.SIGCHLD, _thread_id_place()
    rest: list[object] = [None, None, None, None]
    if place:  # libc keeps the thread's number there, and the child's is another
        flags |= CHILD_SETTID | CHILD_CLEARTID
        rest[machine.clone_place] = ctypes.c_void_p(place)
    child = _holding.syscall(ctypes.c_long(machine.clone), ctypes.c_ulong(flags), *rest)
    return _checked(child, "clone")


@cache
def _thread_id_place() -> int | None:
    """The address of this thread's number in libc's memory; None where the kernel does not tell."""
    place = ctypes.c_void_p()
    told = _libc.prctl(GET_THREAD_ID_PLACE, ctypes.byref(place), 0, 0, 0)
    return place.value if told == 0 else None


def mount(source: str, target: str | Path, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    _checked(
        _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode()),
        f"mount {target}",
    )  # fmt: skip


def unmount(target: str | Path, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def read_only(target: str | Path, more: int = NOSUID | NODEV) -> None:
    """Make a mount and all beneath it read-only, keeping whatever else it forbids."""
    attributes = struct.pack("=QQQQ", READ_ONLY | more, 0, 0, 0)  # same bits as mount's flags
    syscall(
        MOUNT_SETATTR,
        ctypes.c_int(-100),
        os.fsencode(target),
        ctypes.c_uint(AT_RECURSIVE),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )


def drop_bounding_set() -> None:
    """No program started from here on can have capabilities; those this process has, it keeps."""
    for capability in range(CAPABILITIES):
        if _libc.prctl(CAPABILITY_BOUND_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # past the last one that this kernel knows, or there is nothing to drop


def drop_capabilities() -> None:
    """Give up every capability."""
    _checked(_libc.capset(_CAPABILITY_HEADER, _NO_CAPABILITIES), "capset")


def pivot_root(new: str | Path, put_old: str | Path) -> None:
    """Make `new` the root; the old one appears at `put_old`, inside it."""
    number = DENIED["pivot_root"][MACHINES[platform.machine()].column]
    assert number is not None
    syscall(number, os.fsencode(new), os.fsencode(put_old))


def prctl(option: int, value: int = 0) -> int:
    """prctl(2) with one value."""
    return _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


@cache
def landlock_version() -> int:
    """The Landlock version of this kernel; 0 where it has none or has it switched off."""
    try:
        return syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION))
    except OSError:
        return 0


def landlock_ruleset(read: Iterable[str], write: Iterable[str] = ()) -> int:
    """A descriptor of rules: open only what lies beneath these paths, use no TCP port.

    Paths that do not exist, or that nobody here may open, are left out. Whoever is restricted by it
    also sends no signals to processes outside, and reaches no abstract sockets of theirs (version 6).
    """
    version = landlock_version()
    if version == 0:
        raise OSError(95, "this kernel has no Landlock")
    rights = (1 << RIGHTS_BY_VERSION[min(version, len(RIGHTS_BY_VERSION) - 1)]) - 1
    handled = struct.pack(
        "=QQQ", rights, NETWORK if version >= 4 else 0, SCOPES if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscall(CREATE_RULESET, handled, ctypes.c_size_t(size), ctypes.c_uint32(0))
    for paths, allowed in ((read, READ), (write, rights)):
        for path in paths:
            _allow(ruleset, path, allowed & rights)
    return ruleset


def restrict(ruleset: int) -> None:
    """Live by the rules of `landlock_ruleset` from now on. Needs `NO_NEW_PRIVILEGES`."""
    syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= FILE_RIGHTS
        rule = struct.pack("=Qi", rights, opened)
        syscall(
            ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(RULE_PATH_BENEATH),
            rule,
            ctypes.c_uint32(0),
        )
    finally:
        os.close(opened)


@cache
def _filter(alone: bool, shared: bool) -> tuple[bytes, ctypes.Array]:
    """A struct sock_fprog, and the instructions that it points to."""
    code = filter_program(platform.machine(), alone=alone, shared=shared)
    held = ctypes.create_string_buffer(code, len(code))
    return struct.pack("@HP", len(code) // 8, ctypes.addressof(held)), held


def prepare_filters() -> None:
    """Build all filters, so that processes forked from here find them built."""
    for alone in (False, True):
        for shared in (False, True):
            _filter(alone, shared)


def seccomp(alone: bool = False, shared: bool = True) -> None:
    """Install the filter of `filter_program` for good. Needs `NO_NEW_PRIVILEGES`."""
    program, _ = _filter(alone, shared)
    _checked(_libc.prctl(SECCOMP, ctypes.c_ulong(2), program, 0, 0), "seccomp")
