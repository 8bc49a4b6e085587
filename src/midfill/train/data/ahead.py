"""Blocks made ahead of the step that reads them, by other processes.

The processes are started anew (`spawn`): a fork of one that has threads, as torch makes them, may
hang. They know the configuration and nothing of steps; which blocks are wanted is decided here.
"""

import atexit
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from midfill.errors import ResourceError
from midfill.train.data.block import Block
from midfill.train.data.rows import Name, Rows

Make = Callable[[Name], Block]
_BLOCKS = 2  # for each process, that are wanted and not begun to be read
_STEPS = 256  # looked ahead at most


@dataclass(slots=True)
class _Asked:
    """A block that was asked for."""

    made: Future[Block]
    uses: int = 0  # steps that wait for it
    begun: bool = False  # whether a step has read of it


def blocks_ahead(
    rows_of: Callable[[int], Rows], first_step: int, workers: int, opener: Callable[[], Make]
) -> Generator[tuple[int, Rows, Make], None, None]:
    """Every step from the first on, its rows, and what gives their blocks; does not end.

    `opener` is unpickled and called in each process, and makes what makes blocks. What that raises
    is raised here; ResourceError where a process was killed. Closed, it ends the processes.
    """
    asked: dict[Name, _Asked] = {}
    latest: dict[int, Name] = {}
    waiting: deque[Rows] = deque()
    with _processes(workers, opener) as pool:
        for step in count(first_step):
            while not waiting or _room(asked, waiting, _BLOCKS * workers):
                waiting.append(rows_of(step + len(waiting)))
                _ask(pool, waiting[-1].names, asked, latest)
            rows = waiting.popleft()
            yield step, rows, lambda name: _result(asked[name].made)
            for name in rows.names:
                asked[name].begun, asked[name].uses = True, asked[name].uses - 1
            # The last block of a source may have rows that no step waits for yet.
            for name in [n for n, one in asked.items() if not one.uses and latest[n.source] != n]:
                del asked[name]


def _room(asked: dict[Name, _Asked], waiting: deque[Rows], most: int) -> bool:
    """Whether to look at one more step."""
    return len(waiting) < _STEPS and sum(not one.begun for one in asked.values()) < most


def _ask(
    pool: ProcessPoolExecutor,
    names: tuple[Name, ...],
    asked: dict[Name, _Asked],
    latest: dict[int, Name],
) -> None:
    """Have the blocks of a step made that nobody asked for yet."""
    # Processes begin here and inherit the mask: an interrupt is their parent's to handle.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for name in names:
            if name not in asked:
                with _killed_is_told():
                    asked[name] = _Asked(pool.submit(_made, name))
                latest[name.source] = name
            asked[name].uses += 1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(made: Future[Block]) -> Block:
    with _killed_is_told():
        return made.result()


@contextmanager
def _processes(workers: int, opener: Callable[[], Make]) -> Iterator[ProcessPoolExecutor]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(opener,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _killed_is_told() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise ResourceError(
            "a process that prepares training data was killed",
            why="the system ends processes when memory runs out",
            fix="set data.workers or data.block_tokens lower, and resume the run",
        ) from error


_opener: Callable[[], Make] | None = None
_make: Make | None = None


def _begin(opener: Callable[[], Make]) -> None:
    """In a process: remember how to open the data, and end when the parent does."""
    global _opener
    _opener = opener
    atexit.register(_forget)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _forget() -> None:
    """Compiled encoders that live until the interpreter's end are reported as leaks."""
    global _make
    _make = None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _made(name: Name) -> Block:
    """In a process: a block; the data is opened for the first, so that its errors are told."""
    global _make
    if _make is None:
        assert _opener is not None
        _make = _opener()
    return _make(name)
