"""How a process locks itself in: a root of its own, its namespaces, and what it may do in them.

`enter_worker` is done once per worker, `lock_in` once per run, by the process that will run what
nobody vouches for, immediately before it does. Order matters: mounts need capabilities, so they come
first; the system call filter forbids what the steps before it use, so it comes last.
"""

import os
import resource
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from midfill.sandbox import linux
from midfill.sandbox.verdict import Limits

NEW_ROOT = (
    "/sys"  # a directory that every Linux has and no program here needs: the root is built on it
)
HOME = "/tmp"  # the one place that a run may write to
OTHER_HOME = "/box"  # where /tmp holds something that programs must read
USER = 1000  # inside
DEVICES = ("null", "zero", "full", "random", "urandom")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": HOME,
    "TMPDIR": HOME,
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "1",  # else each thread reserves 64 MiB of the addresses that are allowed
}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is to be."""

    namespaces: bool  # levels A and B; without: Landlock and the filter alone
    read: tuple[str, ...]  # paths that programs may read
    uid: int | None  # to become before anything else; None: stay who we are
    cgroup: bool = False  # level A
    home: str = HOME
    scratch: str | None = None  # without namespaces: the directory that a run may write to


def enter_worker(plan: Plan) -> None:
    """Leave this machine's namespaces; the next child is the first process of the new ones.

    Raises OSError where the kernel refuses.
    """
    everything = linux.NEWUSER | linux.NEWNS | linux.NEWPID | linux.NEWNET | linux.NEWIPC
    everything |= linux.NEWUTS | linux.NEWCGROUP
    if (
        plan.namespaces and plan.uid is not None
    ):  # as root: mounts first, whose sources only root may reach
        linux.unshare(linux.NEWNS)
        _build_root(plan.read, plan.home)
    if plan.uid is not None:
        os.setgroups([])
        os.setresgid(plan.uid, plan.uid, plan.uid)
        os.setresuid(plan.uid, plan.uid, plan.uid)
        linux.prctl(linux.DUMPABLE, 1)  # else our own /proc/self belongs to root
    if plan.namespaces:
        uid, gid = os.getuid(), os.getgid()
        linux.unshare(everything)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{USER} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{USER} {gid} 1")
        if plan.uid is None:
            _build_root(plan.read, plan.home)


def _build_root(read: Iterable[str], home: str) -> None:
    """A root of memory with read-only views of `read` in it, and nothing else of this machine."""
    linux.mount("none", "/", "", linux.PRIVATE | linux.RECURSIVE)
    root = Path(NEW_ROOT)
    linux.mount(
        "midfill", root, "tmpfs", linux.NOSUID | linux.NODEV, "size=4m,nr_inodes=4096,mode=755"
    )
    for name in {"proc", "tmp", "dev", "etc", "old", home[1:]}:
        (root / name).mkdir()
    for path in _outermost(read):
        _show(path, root)
    for name in DEVICES:
        (root / "dev" / name).touch()
        linux.mount(f"/dev/{name}", root / "dev" / name, "", linux.BIND)
    for name, target in {"fd": "/proc/self/fd", "shm": home, "stdin": "/proc/self/fd/0",
                         "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}.items():  # fmt: skip
        (root / "dev" / name).symlink_to(target)
    (root / "etc/passwd").write_text(f"user:x:{USER}:{USER}::{home}:/bin/sh\n")
    (root / "etc/group").write_text(f"user:x:{USER}:\n")
    # The machine's processes are seen here until the worker mounts its own over it: a kernel allows
    # that only where it can see that nothing of /proc is being hidden.
    linux.mount("/proc", root / "proc", "", linux.BIND | linux.RECURSIVE)
    os.chdir(root)
    linux.pivot_root(".", "old")
    os.chdir("/")
    linux.unmount("/old", linux.DETACH)
    Path("/old").rmdir()
    linux.mount(
        "none", "/", "", linux.REMOUNT | linux.BIND | linux.READ_ONLY | linux.NOSUID | linux.NODEV
    )


def _outermost(paths: Iterable[str]) -> list[str]:
    """Those that exist and lie beneath no other."""
    there = sorted(map(os.path.normpath, filter(os.path.exists, paths)))
    kept: list[str] = []
    for path in there:
        if not any(f"{path}/".startswith(f"{other}/") for other in kept):
            kept.append(path)
    return kept


def _show(path: str, root: Path) -> None:
    """A read-only view of `path` at the same place under `root`."""
    if Path(path).is_symlink():
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / path[1:]).symlink_to(Path(path).readlink())
        return
    target = root / path[1:]
    if Path(path).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    linux.mount(path, target, "", linux.BIND | linux.RECURSIVE)
    linux.read_only(target)


def settle_worker() -> None:
    """What the first process of a worker's namespaces does: see only its own processes."""
    show_processes()
    socket.sethostname("sandbox")


def show_processes() -> None:
    """Mount /proc of this pid namespace; where the kernel forbids that, an empty directory."""
    flags = linux.NOSUID | linux.NODEV | linux.NOEXEC
    try:
        linux.mount("proc", "/proc", "proc", flags)
    except PermissionError:
        linux.mount("none", "/proc", "tmpfs", flags | linux.READ_ONLY, "size=0")


def own_directory(limits: Limits, home: str) -> None:
    """Mount an empty directory of memory as `home`, and go there."""
    size = f"size={limits.disk_mb}m,nr_inodes={limits.files},mode=700,uid={USER},gid={USER}"
    linux.mount("midfill", home, "tmpfs", linux.NOSUID | linux.NODEV, size)
    os.chdir(home)


def set_limits(limits: Limits, *, memory: int | None, processes: int, file_mb: int) -> None:
    """The kernel's limits of one process; `memory` in bytes of addresses, or None.

    That of time counts ticks and may end a process early, so it comes a second after the worker's own,
    which looks at the whole tree every 20 ms.
    """
    seconds = int(limits.cpu_s) + 2
    wanted = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_FSIZE: (file_mb * _MIB,) * 2,
        resource.RLIMIT_NOFILE: (256, 256),
        resource.RLIMIT_NPROC: (processes, processes),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_STACK: (64 * _MIB,) * 2,
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    if memory is not None:
        wanted[resource.RLIMIT_AS] = (memory, memory)
    for what, (soft, hard) in wanted.items():
        _, most = resource.getrlimit(what)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(what, (soft, hard))


def lock_in(ruleset: int, *, alone: bool, shared: bool) -> None:
    """Give up all privileges, and every system call that is not needed. There is no way back.

    `ruleset` is a descriptor of `linux.landlock_ruleset`, closed here; `alone`: no new processes;
    `shared`: memory may be shared between processes, which only a cgroup counts exactly.
    """
    linux.drop_capabilities()
    linux.prctl(linux.NO_NEW_PRIVILEGES, 1)
    linux.restrict(ruleset)
    os.close(ruleset)
    linux.seccomp(alone, shared)
