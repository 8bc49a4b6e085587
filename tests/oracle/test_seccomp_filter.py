"""The filter's bytes decide as the specification's table does, as libseccomp's do, and as the kernel does.

The bytes are run by a small interpreter of classic BPF, so that the filter of another machine can be
tested here. `pip install pyseccomp` adds the comparison with libseccomp (it needs libseccomp.so.2).
"""

import ctypes
import errno
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from midfill.sandbox.filter import (
    DENIED,
    DENIED_ALONE,
    MACHINES,
    OWN_ONLY,
    SCHED_SETSCHEDULER,
    filter_program,
)

ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, EAGAIN, ENOSYS = FAIL | errno.EPERM, FAIL | errno.EAGAIN, FAIL | errno.ENOSYS
WORD = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# As the specification has it, by hand, on purpose not from the filter's own table.
SPECIFIED = """
socket 41/198, ptrace 101/117, process_vm_readv 310/270, process_vm_writev 311/271,
process_madvise 440/440, kcmp 312/272, pidfd_open 434/434, pidfd_getfd 438/438,
pidfd_send_signal 424/424, move_pages 279/239, migrate_pages 256/238, unshare 272/97, setns 308/268,
mount 165/40, umount2 166/39, pivot_root 155/41, chroot 161/51, fsopen 430/430, fsconfig 431/431,
fsmount 432/432, fspick 433/433, open_tree 428/428, move_mount 429/429, mount_setattr 442/442,
bpf 321/280, perf_event_open 298/241, userfaultfd 323/282, io_uring_setup 425/425,
io_uring_enter 426/426, io_uring_register 427/427, fanotify_init 300/262, lookup_dcookie 212/18,
vmsplice 278/75, memfd_secret 447/447, add_key 248/217, request_key 249/218, keyctl 250/219,
shmget 29/194, shmat 30/196, semget 64/190, msgget 68/186, mq_open 240/180,
open_by_handle_at 304/265, name_to_handle_at 303/264, mknod 133/-, mknodat 259/33,
init_module 175/105, finit_module 313/273, delete_module 176/106, kexec_load 246/104,
kexec_file_load 320/294, reboot 169/142, swapon 167/224, swapoff 168/225, syslog 103/116,
acct 163/89, quotactl 179/60, sethostname 170/161, setdomainname 171/162, clock_settime 227/112,
clock_adjtime 305/266, settimeofday 164/170, adjtimex 159/171, iopl 172/-, ioperm 173/-,
personality 135/92, vhangup 153/58, uselib 134/-, nfsservctl 180/42
"""
# Ours, beside the specification's: what Landlock does not see, done to files that may not be opened.
FILES = """
chown 92/-, fchown 93/55, lchown 94/-, fchownat 260/54, setxattr 188/5, lsetxattr 189/6,
fsetxattr 190/7, setxattrat 463/463, removexattr 197/14, lremovexattr 198/15, fremovexattr 199/16,
removexattrat 466/466, file_setattr 469/469, inotify_init 253/-, inotify_init1 294/26,
memfd_create 319/279
"""
# For a program that starts no others.
MODES = """
chmod 90/-, fchmod 91/52, fchmodat 268/53, fchmodat2 452/452, utime 132/-, utimes 235/-,
futimesat 261/-, utimensat 280/88
"""
# For the caller itself only: numbers, then what argument must be what.
OWN = """
prlimit64 302/261 0=0, sched_setaffinity 203/122 0=0, sched_setparam 142/118 0=0,
sched_setattr 314/274 0=0, setpriority 141/140 0=0 1=0, ioprio_set 251/30 0=1 1=0
"""
SCHEDULER = {"x86_64": 144, "aarch64": 119}
CLONE = {"x86_64": 56, "aarch64": 220}
IOCTL = {"x86_64": 16, "aarch64": 29}
FORKS = {"x86_64": (57, 58), "aarch64": ()}
CLONE3 = 435
COMPARE = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: int.__and__}
NAMESPACES = (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000)
THREAD = 0x10000
INTO_TERMINALS = (0x5412, 0x541C)
# Flags, project and version of a file, and its seal for good: all with the file open for reading.
ON_FILES = (0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685)
COMMANDS = (*INTO_TERMINALS, *ON_FILES)


@cache
def named(machine: str, table: str) -> dict[str, int]:
    """Names and numbers of the calls in a table."""
    column = ("x86_64", "aarch64").index(machine)
    listed: dict[str, int] = {}
    for entry in table.replace("\n", " ").split(","):
        name, numbers, *_ = entry.split()
        number = numbers.split("/")[column]
        if number != "-":
            listed[name] = int(number)
    return listed


def specified(machine: str) -> dict[str, int]:
    """Names and numbers of the calls that are forbidden to everybody."""
    return named(machine, SPECIFIED) | named(machine, FILES)


@cache
def own(machine: str) -> dict[int, dict[int, int]]:
    """Numbers of the calls for the caller itself, and what their arguments must be."""
    wanted = {}
    for entry in OWN.replace("\n", " ").split(","):
        name, _, *arguments = entry.split()
        pairs = [argument.split("=") for argument in arguments]
        wanted[named(machine, OWN)[name]] = {int(at): int(value) for at, value in pairs}
    return wanted


@cache
def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    """Operation, jumps and value of each."""
    return list(struct.iter_unpack("<HBBI", program))


def decide(program: bytes, number: int, word: int, arguments: tuple[int, ...] = ()) -> int:
    """What a filter answers to a call: the kernel's side of seccomp, as far as filters here use it."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, word, 0, *words)
    code = instructions(program)
    at = held = 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == 0x20:  # load a word of the call
            (held,) = struct.unpack_from("<I", data, value)
        elif operation == 0x54:  # and
            held &= value
        elif operation == 0x05:  # jump
            at += value
        elif operation == 0x06:  # answer
            return value
        else:
            at += true if COMPARE[operation](held, value) else false


def flags() -> Iterator[int]:
    """Flags of clone: none, a thread's, each namespace's alone and with others, high bits."""
    common = 0x3D0F00  # what pthread_create asks for
    yield from (0, 17, common, common & ~THREAD, 0x4000 | 0x100, 1 << 40, (1 << 40) | 17)
    for namespace in NAMESPACES:
        yield from (namespace, namespace | 17, namespace | common, namespace | 1 << 40)


MMAP = {"x86_64": 9, "aarch64": 222}


def expected(
    machine: str, number: int, argument: tuple[int, ...], *, alone: bool, shared: bool = True
) -> int:
    """The specification's answer."""
    given = tuple(word & 0xFFFFFFFF for word in (*argument, 0, 0, 0, 0))
    first, second, _, fourth = given[:4]
    if number in own(machine):
        held = all(given[at] == value for at, value in own(machine)[number].items())
        return ALLOW if held else EPERM
    if number == SCHEDULER[machine]:
        return ALLOW if not first else FAIL if not second else EPERM
    if number == MMAP[machine]:
        return EPERM if not shared and fourth & 0x20 and fourth & 0x01 else ALLOW
    if number == CLONE3:
        return ENOSYS
    if number == CLONE[machine]:
        if any(first & namespace for namespace in NAMESPACES):
            return EPERM
        return EAGAIN if alone and not first & THREAD else ALLOW
    if number == IOCTL[machine]:
        return EPERM if second in COMMANDS else ALLOW
    if alone and number in FORKS[machine]:
        return EAGAIN
    forbidden = specified(machine) | (named(machine, MODES) if alone else {})
    return EPERM if number in forbidden.values() else ALLOW


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_is_answered_as_specified(machine: str, alone: bool, shared: bool):
    program = filter_program(machine, alone=alone, shared=shared)
    word = WORD[machine]
    for number in range(513):
        for arguments in (
            (),
            (1, 1),
            (0, 1),
            (1, 0),
            (2, 0),
            (1 << 32, 1 << 32),
            (0xFFFF, 0x5413),
            (0, 0, 3, 0x21),
            (0, 0, 3, 0x22),
            (0, 0, 3, 1),
        ):
            if number == CLONE[machine]:
                continue
            assert decide(program, number, word, arguments) == expected(
                machine, number, arguments, alone=alone, shared=shared
            ), (number, arguments)
    for flag in flags():
        wanted = expected(machine, CLONE[machine], (flag,), alone=alone)
        assert decide(program, CLONE[machine], word, (flag,)) == wanted, hex(flag)
    for command in (*COMMANDS, *(c | 1 << 32 for c in COMMANDS), 0x5401, 0x5413, 0x80086601):
        wanted = expected(machine, IOCTL[machine], (0, command), alone=alone)
        assert decide(program, IOCTL[machine], word, (0, command)) == wanted, hex(command)


@pytest.mark.parametrize("machine", MACHINES)
def test_other_architectures_and_x32_are_killed(machine: str):
    program = filter_program(machine)
    for word in (0x40000003, 0xC000003E, 0xC00000B7, 0x40000028, 0):
        if word != WORD[machine]:
            assert {decide(program, n, word) for n in range(513)} == {KILL}
    if machine == "x86_64":
        for number in (*range(0x40000000, 0x40000300), 0xFFFFFFFF):
            assert decide(program, number, WORD[machine]) == KILL


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernel_s_headers(machine: str):
    if not HEADERS[machine].exists():
        pytest.skip(f"no {HEADERS[machine]}: install linux-libc-dev")
    text = HEADERS[machine].read_text()
    known = {name: int(n) for name, n in re.findall(r"#define __NR_(\w+)\s+(\d+)\n", text)}
    column = MACHINES[machine].column
    tables = DENIED | DENIED_ALONE | {name: own[:2] for name, own in OWN_ONLY.items()}
    for name, numbers in (tables | {"sched_setscheduler": SCHED_SETSCHEDULER}).items():
        newer = name not in known and (numbers[column] or 0) > max(known.values())
        assert newer or numbers[column] == known.get(name), name
    assert known["clone"] == MACHINES[machine].clone
    assert known["clone3"] == CLONE3


@pytest.mark.parametrize("machine", MACHINES)
def test_libseccomp_decides_alike(machine: str):
    try:
        import pyseccomp as seccomp  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as why:  # the second: the package is there, its library not
        pytest.skip(f"pip install pyseccomp: {why}")
    arch = {"x86_64": seccomp.Arch.X86_64, "aarch64": seccomp.Arch.AARCH64}[machine]
    theirs = seccomp.SyscallFilter(seccomp.ALLOW)
    native = seccomp.system_arch()
    if arch != native:
        theirs.add_arch(arch)
        theirs.remove_arch(native)
    own_or_newer = {*own(machine), SCHEDULER[machine]}  # of 64 bits there, or not known there
    for name, number in specified(machine).items():
        if seccomp.resolve_syscall(arch, name) == number:
            theirs.add_rule(seccomp.ERRNO(errno.EPERM), name)
        else:
            assert number > CLONE3, name
            own_or_newer.add(number)
    theirs.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in NAMESPACES:
        theirs.add_rule(
            seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag)
        )
    for command in COMMANDS:
        low = seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, command)
        theirs.add_rule(seccomp.ERRNO(errno.EPERM), "ioctl", low)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as written, os.fdopen(reading, "rb") as read:
        theirs.export_bpf(written)
        written.close()
        program = read.read()
    ours, word = filter_program(machine), WORD[machine]
    cases = [
        (n, (0, c))
        for n in set(range(513)) - own_or_newer
        for c in (0, *COMMANDS, INTO_TERMINALS[0] | 1 << 32)
    ]
    cases += [(CLONE[machine], (flag,)) for flag in flags()]
    for number, arguments in cases:
        assert decide(ours, number, word, arguments) == decide(program, number, word, arguments)


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no numbers for this machine")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")
@pytest.mark.parametrize("alone", [False, True])
def test_the_kernel_answers_so(alone: bool):
    """In a child of an ordinary user, with arguments that no call could do anything with."""
    machine = platform.machine()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _say_what_the_kernel_answers(writing, machine, alone)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        answers = dict(struct.iter_unpack("<ii", answer.read()))
    _, status = os.waitpid(child, 0)
    assert status == 0
    listed = {*specified(machine).values(), *own(machine), SCHEDULER[machine]}
    listed |= set(named(machine, MODES).values()) if alone else set()
    assert answers == dict.fromkeys(listed, errno.EPERM) | {
        CLONE3: errno.ENOSYS,
        **(dict.fromkeys(FORKS[machine], errno.EAGAIN) if alone else {}),
    }


def _say_what_the_kernel_answers(to: int, machine: str, alone: bool) -> None:
    try:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        from midfill.sandbox import linux

        linux.prctl(linux.NO_NEW_PRIVILEGES, 1)
        linux.seccomp(alone)
        # Another's, but the usual one: it is told that this was done.
        os.sched_setscheduler(os.getppid(), os.SCHED_OTHER, os.sched_param(0))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        nothing = [ctypes.c_ulong((1 << 64) - 1)] * 6
        numbers = [*specified(machine).values(), *own(machine), SCHEDULER[machine], CLONE3]
        if alone:
            numbers += [*named(machine, MODES).values(), *FORKS[machine]]
        for number in numbers:
            failed = libc.syscall(ctypes.c_long(number), *nothing) == -1
            os.write(to, struct.pack("<ii", number, ctypes.get_errno() if failed else 0))
    except BaseException:
        os._exit(1)
    os._exit(0)
