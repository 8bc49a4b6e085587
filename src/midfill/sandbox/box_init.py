"""The first process of a box: keeps files for programs, starts them, and ends all they started.

It is trusted, holds no secrets, and is out of reach of what it starts: signals do not reach the
first process of a pid namespace, and its memory is closed to others. Where there are no namespaces it
adopts every orphan of the programs instead, and finds all their descendants in /proc.
"""

import contextlib
import errno
import os
import resource
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from midfill.sandbox import linux
from midfill.sandbox.calls import unpack
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import FRAME, encode
from midfill.sandbox.confine import ENVIRONMENT, lock_in, set_limits
from midfill.sandbox.processes import (
    TICK,
    Usage,
    be_killed_first,
    end_all,
    ended_at_cpu_limit,
)
from midfill.sandbox.verdict import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where programs run, and what they may do there."""

    directory: str
    read: tuple[str, ...]
    write: tuple[str, ...]
    others: int  # threads of the same user that the kernel counts with theirs
    exact: bool  # whether a cgroup counts their memory


def serve(link: Channel, place: Place) -> None:
    """Do what is asked in a directory until the other end closes."""
    linux.prctl(linux.DUMPABLE, 0)
    linux.prctl(linux.CHILD_SUBREAPER, 1)
    home = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            packed, descriptors = link.receive_all()
            message = unpack(packed)
            # A run may end just when it is told to stop: then nobody waits for an answer to that.
            if message != {"do": "stop"}:
                link.send_bytes(_answer(message, descriptors, link, home, place))
    except ClosedError:
        end_all()


def _answer(message: Any, descriptors: list[int], link: Channel, home: int, place: Place) -> bytes:
    """What came of a request, encoded."""
    try:
        return encode(_do(message, descriptors, link, home, place))
    except OSError as problem:
        said = f"{problem.strerror}: {problem.filename!r}"
        return encode({"failed": said, "errno": problem.errno})
    except ValueError as problem:  # a name or an answer that cannot be encoded
        return encode({"failed": str(problem), "errno": errno.EINVAL})
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _do(message: Any, descriptors: list[int], link: Channel, home: int, place: Place) -> dict:
    match message["do"]:
        case "write":
            _write(home, message["path"], message["data"], message["executable"])
            return {}
        case "read":
            return {"data": _read(home, message["path"], message["most"])}
        case "run":
            return _run(message, descriptors, link, place)
    return {"failed": "there is no such request"}


def _write(home: int, path: str, data: bytes, executable: bool) -> None:
    folder, name = _walk(home, path, make=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        mode = 0o755 if executable else 0o644
        with os.fdopen(os.open(name, flags, mode, dir_fd=folder), "wb") as file:
            file.write(data)
    finally:
        os.close(folder)


def _read(home: int, path: str, most: int) -> bytes:
    folder, name = _walk(home, path, make=False)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
            return file.read(min(most, FRAME))  # what is more cannot be sent
    finally:
        os.close(folder)


def _walk(home: int, path: str, *, make: bool) -> tuple[int, str]:
    """The open folder of `path` and its last name, following no link on the way."""
    *folders, name = path.split("/")
    at = os.dup(home)
    try:
        for folder in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=at)
            further = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = further
    except BaseException:
        os.close(at)
        raise
    return at, name


def _run(message: Mapping[str, Any], descriptors: list[int], link: Channel, place: Place) -> dict:
    limits = Limits(**message["limits"])
    failed_read, failed_write = os.pipe2(os.O_CLOEXEC)
    started, before = time.monotonic(), _time_of_children()
    usage = Usage(os.getpid(), with_root=False)
    child = os.fork()
    if child == 0:
        _become(message, limits, descriptors, failed_write, place)
    os.close(failed_write)
    with os.fdopen(failed_read, "rb") as failed:
        why = failed.read()  # ends when the program starts, or with why it did not
    if why:
        os.waitpid(child, 0)
        return {"ended": "infra", "detail": why.decode(errors="replace")}
    ended = _watch(child, limits, message["memory_mb"], link, usage)
    _, status, _ = os.wait4(child, 0)
    end_all()
    cpu_s = max(usage.cpu_s, _time_of_children() - before)
    reply = {"cpu_s": cpu_s, "wall_s": time.monotonic() - started}
    if ended is not None:
        return reply | {"ended": ended}
    if os.WIFEXITED(status):
        return reply | {"ended": "exit", "status": os.WEXITSTATUS(status)}
    at_limit = ended_at_cpu_limit(status, cpu_s, limits.cpu_s)
    ended = "timeout" if at_limit else "signal"
    return reply | {"ended": ended, "status": os.WTERMSIG(status)}


def _time_of_children() -> float:
    """Seconds of processor time of all that this process has waited for, and all that those have."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(child: int, limits: Limits, memory_mb: int, link: Channel, usage: Usage) -> str | None:
    """Wait until `child` ends; which limit its tree went over, if it was ended for that."""
    handle = os.pidfd_open(child)
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    waiting.register(link, select.POLLIN | select.POLLHUP)
    try:
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll(TICK * 1000)}
            if handle in ready:
                return None
            cpu_s, memory = usage.look()
            # The only thing that is said during a run is that it has taken too long.
            if link.fileno() in ready or cpu_s > limits.cpu_s:
                ended = "timeout"
            elif memory > memory_mb << 20:
                ended = "memory"
            else:
                continue
            end_all(unwaited=[child])
            if link.fileno() in ready:
                link.receive_bytes()
            return ended
    finally:
        os.close(handle)


def _become(
    message: Mapping[str, Any], limits: Limits, descriptors: list[int], failed: int, place: Place
) -> NoReturn:
    """Lock this process in, and turn it into the program; writes to `failed` where it cannot."""
    why = "it could not be locked in"
    try:
        linux.prctl(linux.PARENT_DIES, signal.SIGKILL)
        linux.prctl(linux.DUMPABLE, 1)  # else its files in /proc belong to nobody here
        be_killed_first()
        linux.prctl(linux.DUMPABLE, 0)
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, 64 + number)
        for number in range(len(descriptors)):
            os.dup2(64 + number, number, inheritable=True)
        os.dup2(failed, 63, inheritable=False)
        failed = 63
        os.closerange(len(descriptors), 63)
        os.closerange(64, 1 << 20)
        memory = message["memory_mb"] << 20 if message["address_space"] else None
        set_limits(
            limits,
            memory=memory,
            processes=message["processes"] + place.others,
            file_mb=limits.disk_mb,
        )
        environment = ENVIRONMENT | {"HOME": place.directory, "TMPDIR": place.directory}
        environment |= message["environment"]
        lock_in(linux.landlock_ruleset(place.read, place.write), alone=False, shared=place.exact)
        why = f"{message['argv'][0]} cannot be started"
        os.chdir(place.directory)
        os.execvpe(message["argv"][0], message["argv"], environment)
    except BaseException as problem:
        os.write(failed, f"{why}: {problem}".encode(errors="replace"))
    finally:
        os._exit(127)
