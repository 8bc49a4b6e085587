"""Run tasks in processes of this machine.

Processes are started anew (`spawn`), so that they share nothing with the program around them; each
does some tasks and is replaced, so that memory goes back. With one worker the tasks run here.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from midfill.errors import ResourceError

Task = TypeVar("Task")
Result = TypeVar("Result")
_TASKS_PER_PROCESS = 8


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
        self.workers = workers or len(os.sched_getaffinity(0))
        self.memory_bytes = memory_bytes

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order in which they end.

        What a task raises is raised here. ResourceError where a process was killed.
        """
        if self.workers == 1:
            for task in tasks:
                yield task, function(task)
            return
        pool = ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_bind,
            initargs=(self.memory_bytes,),
            max_tasks_per_child=_TASKS_PER_PROCESS,
        )
        try:
            yield from self._in_flight(pool, function, iter(tasks))
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


def _bind(memory_bytes: int | None) -> None:
    """Bind this process: beyond the bound it gets MemoryError, and the machine lives on."""
    if memory_bytes is None:
        return
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
