"""Workers, the level of isolation that this machine can give, and verdicts.

    A         own namespaces, Landlock, system call filter, limits, and a cgroup
    B         A without the cgroup: memory in all is looked at every 20 ms instead of being exact
    C-strict  Landlock, filter and limits alone; no new processes, nothing to write to
    C         as C-strict, with processes and one directory: for compilers and other languages
    D         less than that: refused

The level is not read off versions: attacks are tried at start (`canaries`), and only a level that
withstands them is used.
"""

import atexit
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

from midfill.errors import SandboxError
from midfill.sandbox.box import Box
from midfill.sandbox.canaries import canaries
from midfill.sandbox.foreign import judge_foreign
from midfill.sandbox.languages import find_language
from midfill.sandbox.supervise import InfraError
from midfill.sandbox.unsealed import self_running
from midfill.sandbox.verdict import Level, Limits, Verdict
from midfill.sandbox.worker import Worker

LEVELS: tuple[Level, ...] = ("A", "B", "C-strict", "C", "D")  # from the best
DEFAULT_LIMITS = Limits()
PAUSE_S = 0.5  # before a level that was not given is tried once more
LEVEL_VARIABLE = "MIDFILL_SANDBOX_LEVEL"


class Sandbox:
    """Runs programs that nobody vouches for. Use it from as many threads as it has workers.

    `level` None takes the best that this machine can give, and refuses to fall below `minimum`.
    Raises SandboxError where there is no such level.
    """

    def __init__(
        self, workers: int | None = None, *, level: str | None = None, minimum: Level = "C"
    ) -> None:
        self.workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers is {workers}, and should be 1 or more")
        self.level: Level = available_level(level, minimum)
        self._closed = False
        self._start_anew()
        _sandboxes.add(self)

    def _start_anew(self) -> None:
        """Without any worker: at first, and in a child of this process, whose they are not."""
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)
        self._turn = _Turn()
        self._closing = threading.Lock()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; what they used is gone afterwards."""
        self._closed = True
        with self._closing:
            taken = 0
            try:
                while taken < self.workers:
                    worker = self._idle.get()
                    taken += 1
                    if worker is not None:
                        worker.close()
            finally:
                for _ in range(taken):
                    self._idle.put(None)

    def judge(
        self,
        code: str,
        tests: str,
        entry_point: str | None = None,
        language: str = "python",
        limits: Limits = DEFAULT_LIMITS,
        *,
        trusted_tests: bool = False,
        sealed: bool = True,
    ) -> Verdict:
        """What tests say about a program.

        Python verdicts are sealed: `tests` run in another process than `code` and see values only.
        `tests` are assert lines, HumanEval's check(candidate), test_ functions without arguments or
        unittest classes. In other languages tests are appended to the code and the two run as one
        program, so their verdicts are not sealed. A time-out counts when it happens again with
        nothing else running. `trusted_tests` are run without a fork of their own, which saves a third
        of the time: for tests that came with a benchmark whose digest is known, never for a user's or
        a model's. `sealed` False runs Python tests in the program's own process, for those that need its
        very objects, and believes what comes of it. Source of the rules: DeepSeek-Coder-V2 §4.1; the seal is ours.
        """
        python = find_language(language).name == "python"
        if python and sealed:
            return self.confirmed(
                lambda: self._sealed(code, tests, entry_point, limits, trusted_tests)
            )
        if python:
            if self.level == "C-strict":
                detail = "unsealed Python needs a level that runs commands: A, B or C"
                return Verdict(status="infra", sealed=False, level=self.level, detail=detail)
            try:
                tests = self_running(tests, entry_point)
            except (SyntaxError, ValueError, RecursionError) as error:
                detail = f"the tests cannot be run: {error}"
                return Verdict(status="infra", sealed=False, level=self.level, detail=detail)
        return self.confirmed(
            lambda: judge_foreign(self, code, tests, entry_point, language, limits)
        )

    def confirmed(self, run: Callable[[], Verdict]) -> Verdict:
        """What `run` gives; after a time-out, what it gives again with nothing else running here."""
        with self._turn.shared():
            verdict = run()
        if verdict.status != "timeout":
            return verdict
        with self._turn.alone():
            again = run()
        return replace(again, first=verdict)

    def _sealed(
        self, code: str, tests: str, entry_point: str | None, limits: Limits, trusted: bool
    ) -> Verdict:
        level: Level = self.level if self.level in ("A", "B") else "C-strict"
        try:
            with self._worker() as worker:
                return worker.sealed(code, tests, entry_point, limits, trusted=trusted)
        except (InfraError, OSError) as fault:  # no descriptor, no process: this machine's
            return Verdict(status="infra", sealed=True, level=level, detail=str(fault))

    @contextmanager
    def box(
        self, files: Mapping[str, bytes] | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> Iterator[Box]:
        """A private directory with `files` in it, in which commands can be run; gone afterwards.

        Raises InfraError where the sandbox fails, SandboxError at level C-strict, which runs no commands.
        """
        if self.level == "C-strict":
            raise SandboxError(
                "level C-strict runs no commands",
                why="it allows no new processes",
                fix="take level A, B or C",
            )
        with self._worker() as worker:
            box = Box(worker, limits)
            try:
                for path, data in (files or {}).items():
                    box.write(path, data)
                yield box
            finally:
                box.close()

    @contextmanager
    def _worker(self) -> Iterator[Worker]:
        """A worker for one run; one that failed is not used again."""
        worker = self._idle.get()
        try:
            if self._closed:
                raise InfraError("the sandbox is closed")
            if worker is None:
                reason = why_not(self.level)
                if reason:
                    raise InfraError(f"level {self.level} is no longer given: {reason}")
                worker = _start(self.level)
            yield worker
        except BaseException as error:  # an interrupted run left its worker in the middle of it
            if isinstance(error, InfraError):
                forget_levels()
            if worker is not None:
                worker.close()
            worker = None
            raise
        finally:
            self._idle.put(worker)


def _start(level: Level) -> Worker:
    try:
        return Worker(level)
    except OSError as problem:
        raise InfraError(f"a worker cannot be started: {problem}") from None


class _Turn:
    """Many at a time, or one alone."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = 0
        self.waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: not self.waiting)
            self.running += 1
        try:
            yield
        finally:
            with self.changed:
                self.running -= 1
                self.changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self.changed:
            self.waiting += 1
            try:
                self.changed.wait_for(lambda: not self.running)
                self.running += 1
            except BaseException:
                self.waiting -= 1
                self.changed.notify_all()
                raise
        try:
            yield
        finally:
            with self.changed:
                self.running -= 1
                self.waiting -= 1
                self.changed.notify_all()


_known: dict[Level, str | None] = {}
_probing = threading.Lock()


def available_level(wanted: str | None, minimum: Level) -> Level:
    """The level to use: `wanted`, or the best that withstands the canaries.

    Raises SandboxError where it is not available or below `minimum`.
    """
    named = wanted or os.environ.get(LEVEL_VARIABLE)
    for name in filter(None, (named, minimum)):
        if name not in LEVELS:
            raise SandboxError(
                f"there is no level {name!r}",
                why="levels have exact names, and D is one at which nothing is run",
                fix=f"one of: {', '.join(LEVELS[:-1])}",
            )
    if not sys.platform.startswith("linux"):
        raise _refusal("programs cannot be run safely on this system", "isolation needs Linux")
    reasons = []
    for level in LEVELS:
        if named and level != named:
            continue
        reason = why_not(level)
        if reason is None and LEVELS.index(level) > LEVELS.index(minimum):
            reason = f"less than {minimum}, which is the least that is wanted here"
        if reason is None:
            return level
        reasons.append(f"{level}: {reason}")
    raise _refusal("programs cannot be run safely here", "; ".join(reasons))


def why_not(level: Level) -> str | None:
    """Why this machine does not give a level; None: it does. Tried once per process."""
    if level == "D":
        return "it isolates nothing"
    with _probing:
        if level not in _known:
            _known[level] = _probe(level)
            if _known[level]:  # once more: it may have been busy
                time.sleep(PAUSE_S)
                _known[level] = _probe(level)
        return _known[level]


def _probe(level: Level) -> str | None:
    try:
        worker = _start(level)
        try:
            return canaries(worker)
        finally:
            worker.close()
    except InfraError as fault:
        return str(fault)


def forget_levels() -> None:
    """Try the canaries again before the next worker starts: the sandbox has failed."""
    with _probing:
        _known.clear()


def _refusal(what: str, why: str) -> SandboxError:
    return SandboxError(
        what,
        why=why,
        fix=(
            "use Linux 5.13 or later with user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0) or Landlock with ABI 6; in a container, "
            "allow unshare and landlock in its seccomp profile. `midfill doctor` shows what is missing"
        ),
    )


_shared: Sandbox | None = None
_sharing = threading.Lock()


def shared_sandbox() -> Sandbox:
    """The sandbox that `judge` uses, with a worker per core, ended with this process."""
    global _shared
    with _sharing:
        if _shared is None:
            _shared = Sandbox()
            atexit.register(_shared.close)
        return _shared


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _after_fork() -> None:
    """In a child of this process: its workers are not ours, and whoever held a lock is not here."""
    global _shared, _sharing, _probing
    _shared, _sharing, _probing = None, threading.Lock(), threading.Lock()
    for sandbox in list(_sandboxes):
        sandbox._start_anew()


os.register_at_fork(after_in_child=_after_fork)


def judge(
    code: str,
    tests: str,
    entry_point: str | None = None,
    language: str = "python",
    limits: Limits = DEFAULT_LIMITS,
    *,
    sealed: bool = True,
) -> Verdict:
    """What tests say about a program; `Sandbox.judge` with a sandbox that is kept for the next call."""
    return shared_sandbox().judge(code, tests, entry_point, language, limits, sealed=sealed)
