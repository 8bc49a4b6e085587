"""Run tasks in processes of this machine.

Processes are started anew (`spawn`), so that they share nothing with the program around them; each
does some tasks and is replaced, so that memory goes back. With one worker the tasks run here.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from midfill.errors import ResourceError

Task = TypeVar("Task")
Result = TypeVar("Result")
_TASKS_PER_PROCESS = 8
_LEAST_BYTES = 1 << 29  # for a process with its libraries
_PR_SET_PDEATHSIG = 1


class Executor(Protocol):
    """Runs a function over tasks, wherever the processes are."""

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order in which they end."""
        ...


class Local:
    """Processes of this machine: `workers` at a time, each bound to `memory_bytes` of data."""

    def __init__(self, workers: int | None = None, memory_bytes: int | None = None) -> None:
        """None: a worker for each core; an equal share of this machine's memory for each.

        Raises ResourceError where `memory_bytes` is less than a process needs before it has read.
        """
        if memory_bytes is not None and memory_bytes < _LEAST_BYTES:
            raise ResourceError(
                f"{memory_bytes >> 20:,} MiB are too little for a process of the build",
                why=f"with its libraries and threads it needs {_LEAST_BYTES >> 20} MiB",
                fix=f"--worker-memory {_LEAST_BYTES >> 20} or more, with fewer --workers if need be",
            )
        self.workers = workers or len(os.sched_getaffinity(0))
        self._here = self.workers == 1 and memory_bytes is None
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.memory_bytes = memory_bytes or max(whole // self.workers, _LEAST_BYTES)

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order in which they end.

        What a task raises is raised here. ResourceError where a process was killed.
        """
        if self._here:
            for task in tasks:
                yield task, function(task)
            return
        pool = ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_bind,
            initargs=(self.memory_bytes, os.getpid()),
            max_tasks_per_child=_TASKS_PER_PROCESS,
        )
        try:
            yield from self._in_flight(pool, function, iter(tasks))
        except MemoryError as error:
            raise ResourceError(
                f"a part needs more than {self.memory_bytes >> 20:,} MiB",
                why="that is what each process may hold (--worker-memory)",
                fix="give smaller parts (--set part_bytes=16777216), or fewer --workers; finished "
                "parts are kept",
            ) from error
        except BrokenProcessPool as error:
            raise ResourceError(
                "a process of the build was killed",
                why="the system ends processes when memory runs out",
                fix="give fewer --workers, then the same command again: finished parts are kept",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_flight(
        self,
        pool: ProcessPoolExecutor,
        function: Callable[[Task], Result],
        tasks: Iterator[Task],
    ) -> Iterator[tuple[Task, Result]]:
        """Keep twice as many tasks as workers in the pool, so that a plan may be a generator."""
        running: dict[Future[Result], Task] = {}
        while True:
            while len(running) < 2 * self.workers and (task := next(tasks, None)) is not None:
                running[pool.submit(function, task)] = task
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()


def _bind(memory_bytes: int, parent: int) -> None:
    """Bind this process: beyond the bound it gets MemoryError, and it ends with its parent.

    An orphan would go on to write files that the next build is writing too.
    """
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
