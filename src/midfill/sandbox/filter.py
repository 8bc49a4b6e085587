"""The seccomp filter of untrusted programs: which system calls they may not make.

A filter is a small program in classic BPF that the kernel runs before each system call of the
process and of all its children. `filter_program` builds its bytes for one kind of machine. What is
not named here is allowed: isolation comes from namespaces and Landlock, and the filter takes away
what goes around them (other processes' memory and priority, new namespaces, sockets, shared memory
that outlives a run, owners and modes of files that may not be opened) and the large, rarely used
parts of the kernel.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # SECCOMP_RET_*; FAIL with an errno
DONE, EPERM, EAGAIN, ENOSYS = 0, 1, 11, 38

LOAD, JUMP_EQUAL, JUMP_FROM, JUMP_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
X32 = 0x40000000  # bit of the x32 numbers, which would go around the list

CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x7E020000  # user, mnt, pid, net, ipc, uts, cgroup
MAP_SHARED, MAP_ANONYMOUS = 0x01, 0x20
SCHED_OTHER = 0

# Commands of ioctl that type into a terminal, and that change a file which was opened for reading.
COMMANDS = {
    "TIOCSTI": 0x5412, "TIOCLINUX": 0x541C,
    "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC32_SETFLAGS": 0x40046602, "FS_IOC_FSSETXATTR": 0x401C5820,
    "FS_IOC_SETVERSION": 0x40087602, "FS_IOC_ENABLE_VERITY": 0x40806685,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """Numbers of one architecture; `column` says which of the tables'."""

    architecture: int
    column: int
    clone: int
    clone_place: int  # which of its arguments after the flags says where the child's number goes
    ioctl: int
    mmap: int
    forks: tuple[int, ...]  # besides clone and clone3


MACHINES = {
    "x86_64": Machine(0xC000003E, 0, clone=56, clone_place=2, ioctl=16, mmap=9, forks=(57, 58)),
    "aarch64": Machine(0xC00000B7, 1, clone=220, clone_place=3, ioctl=29, mmap=222, forks=()),
}
CLONE3 = 435  # everywhere

# Allowed for the caller itself: number on x86-64, on AArch64, and what the arguments must be. The
# caller is called 0; where a kind of target comes first, it must be a process, no group or user.
OWN_ONLY: dict[str, tuple[int, int, dict[int, int]]] = {
    "prlimit64": (302, 261, {0: 0}),
    "sched_setaffinity": (203, 122, {0: 0}),
    "sched_setparam": (142, 118, {0: 0}),
    "sched_setattr": (314, 274, {0: 0}),
    "setpriority": (141, 140, {0: 0, 1: 0}),
    "ioprio_set": (251, 30, {0: 1, 1: 0}),
}
SCHED_SETSCHEDULER = (144, 119)

# Name: number on x86-64, on AArch64; None: does not exist there.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # sockets of any family; a pair of connected ones stays allowed
    "socket": (41, 198),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428), "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    # large parts of the kernel that no such program needs
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "vmsplice": (278, 75),
    "memfd_secret": (447, 447),
    # files of memory, which no limit counts
    "memfd_create": (319, 279),
    # keys
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # memory and queues that outlive the process
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180),
    # handles that go around paths, and devices
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "mknod": (133, None),
    "mknodat": (259, 33),
    # the machine
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "syslog": (103, 116), "acct": (163, 89),
    "quotactl": (179, 60), "sethostname": (170, 161), "setdomainname": (171, 162),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "settimeofday": (164, 170),
    "adjtimex": (159, 171), "iopl": (172, None), "ioperm": (173, None), "personality": (135, 92),
    "vhangup": (153, 58), "uselib": (134, None), "nfsservctl": (180, 42),
    # files that may not be opened: whose they are, what is noted on them, what happens to them
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469), "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}  # fmt: skip

# For programs that start no others; compilers need these: linkers make what they write executable.
DENIED_ALONE: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip


def filter_program(machine: str, *, alone: bool = False, shared: bool = True) -> bytes:
    """The BPF instructions for `machine`, as `platform.machine()` calls it; 8 bytes each.

    Listed calls answer EPERM, clone3 ENOSYS (libc then falls back to clone, whose flags a filter can
    read). Calls of another architecture kill the process. `alone`: no new processes either (EAGAIN;
    threads stay allowed), and files keep their modes and times. `shared` False: no memory that
    processes share and no file backs, which nobody but a cgroup counts. Raises KeyError for a machine
    that has no numbers here.
    """
    m = MACHINES[machine]
    code = [
        _op(LOAD, ARCHITECTURE),
        _op(JUMP_EQUAL, m.architecture, true=1),
        _op(RETURN, KILL),
        _op(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        code += [_op(JUMP_FROM, X32, false=1), _op(RETURN, KILL)]
    code += _answer(CLONE3, FAIL | ENOSYS)
    forks = [_op(JUMP_BITS, NEW_NAMESPACES, false=1), _op(RETURN, FAIL | EPERM)]
    if alone:
        forks += [_op(JUMP_BITS, CLONE_THREAD, true=1), _op(RETURN, FAIL | EAGAIN)]
        for number in m.forks:
            code += _answer(number, FAIL | EAGAIN)
    code += _by_argument(m.clone, 0, [*forks, _op(RETURN, ALLOW)])
    listed = [_op(RETURN, ALLOW), _op(RETURN, FAIL | EPERM)]
    code += _by_argument(m.ioctl, 1, [*_any_of(COMMANDS.values()), *listed])
    for *numbers, wanted in OWN_ONLY.values():
        code += _only_with(numbers[m.column], wanted)
    code += _scheduler(SCHED_SETSCHEDULER[m.column])
    if not shared:
        both = [_op(JUMP_BITS, MAP_ANONYMOUS, false=2), _op(JUMP_BITS, MAP_SHARED, false=1)]
        code += _by_argument(m.mmap, 3, [*both, _op(RETURN, FAIL | EPERM), _op(RETURN, ALLOW)])
    denied = DENIED | DENIED_ALONE if alone else DENIED
    numbers = [number[m.column] for number in denied.values()]
    code += [*_any_of(number for number in numbers if number is not None), *listed]
    return b"".join(code)


def _by_argument(number: int, argument: int, then: list[bytes]) -> list[bytes]:
    """For a call with this number, load the low half of an argument and go on with `then`, which returns."""
    then = [_op(LOAD, ARGUMENTS + 8 * argument), *then]
    return [_op(JUMP_EQUAL, number, false=len(then)), *then]


def _any_of(values: Iterable[int]) -> list[bytes]:
    """Skip the instruction after these if what is loaded is one of the values."""
    some = sorted(values)
    return [_op(JUMP_EQUAL, value, true=len(some) - i) for i, value in enumerate(some)]


def _only_with(number: int, wanted: Mapping[int, int]) -> list[bytes]:
    """Allow a call with this number only if the low halves of these arguments are as wanted."""
    then: list[bytes] = []
    for argument, value in wanted.items():
        then += [_op(LOAD, ARGUMENTS + 8 * argument), _op(JUMP_EQUAL, value, true=1)]
        then += [_op(RETURN, FAIL | EPERM)]
    return [_op(JUMP_EQUAL, number, false=len(then) + 1), *then, _op(RETURN, ALLOW)]


def _scheduler(number: int) -> list[bytes]:
    """sched_setscheduler for the caller itself.

    Mono names its threads by their ids when it asks for the usual scheduler, which they have, and
    complains on stderr if that fails: it is told that it was done.
    """
    usual = [_op(LOAD, ARGUMENTS + 8), _op(JUMP_EQUAL, SCHED_OTHER, false=1)]
    usual += [_op(RETURN, FAIL | DONE)]
    own = [_op(JUMP_EQUAL, 0, false=1), _op(RETURN, ALLOW)]
    return _by_argument(number, 0, [*own, *usual, _op(RETURN, FAIL | EPERM)])


def _answer(number: int, answer: int) -> list[bytes]:
    return [_op(JUMP_EQUAL, number, false=1), _op(RETURN, answer)]


def _op(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    """One instruction; a comparison skips `true` or `false` of the following ones."""
    return struct.pack("=HBBI", code, true, false, value)
