"""One thread that runs the engine for everybody, and the jobs that asyncio reads from it.

A job is any iterator; one `next()` is one step of the engine. The thread steps through the active
jobs in turn, so that all of them progress; it knows neither tokens nor text. A job whose reader is
far behind gives its slot to one that can go on, and comes back before those that have not begun.
An urgent job waits behind urgent ones only, and has slots of its own: the engine, which batches all
that is in a slot, then puts others aside for it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from midfill.errors import RequestError

T = TypeVar("T")

AHEAD = 64  # pieces a job may be ahead of its reader before it pauses


class Job(Generic[T]):
    """One request in the engine; `async for` reads what it yields, in the loop that made it."""

    def __init__(
        self, steps: Iterator[T], wake: Callable[[], None], *, urgent: bool = False
    ) -> None:
        self.urgent = urgent
        self._steps = steps
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[tuple[T] | BaseException] = asyncio.Queue()
        self._sent = 0  # written by the engine thread only
        self._read = 0  # written by the event loop only
        self._reason: Exception | None = None  # why it was cancelled

    def __aiter__(self) -> "Job[T]":
        return self

    async def __anext__(self) -> T:
        """Return the next item; raise what the engine raised, or StopAsyncIteration at the end."""
        item = await self._inbox.get()
        if isinstance(item, BaseException):
            self._inbox.put_nowait(item)  # the end stays the end, however often it is asked
            raise item
        self._read += 1
        if self._sent - self._read == AHEAD - 1:
            self._wake()
        return item[0]

    def cancel(self, reason: Exception | None = None) -> None:
        """Stop the work within one step; the reader sees `reason`, by default a plain end."""
        if self._reason is None:
            self._reason = reason or StopAsyncIteration()
            self._wake()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end."""
        return self._reason is not None

    @property
    def paused(self) -> bool:
        """Whether the reader is so far behind that the work waits for it."""
        return not self.cancelled and self._sent - self._read >= AHEAD

    def step(self) -> Exception | None:
        """Do one step in the engine thread; return how the job ended, None when it goes on."""
        try:
            if self._reason is not None:
                raise self._reason
            item = next(self._steps)
        except StopIteration:
            return self._close(StopAsyncIteration())
        except Exception as error:  # the border of a request: its reader gets the error
            return self._close(error)
        self._sent += 1
        self.hand_over((item,))
        return None

    def _close(self, reason: Exception) -> Exception:
        close = getattr(self._steps, "close", None)
        try:
            if close is not None:
                close()
        except Exception as error:  # a generator whose clean-up fails must not end the thread
            return error
        return reason

    def hand_over(self, item: Any) -> None:
        """Give the reader an item in a tuple, or the end."""
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._inbox.put_nowait, item)


class Worker:
    """The engine thread and its bounded queue; `submit` is its only door."""

    def __init__(self, *, max_batch: int, max_queue: int) -> None:
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._active: deque[Job[Any]] = deque()
        self._parked: deque[Job[Any]] = deque()  # begun, then paused while another wanted the slot
        self._waiting: deque[Job[Any]] = deque()
        self._changed = threading.Condition()
        self._draining = False  # no new jobs
        self._stopped = False  # the thread ends
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the engine thread."""
        self._thread.start()

    def submit(self, steps: Iterator[T], *, urgent: bool = False) -> Job[T]:
        """Queue `steps` and return the job that yields them; 429 when the queue is full."""
        job = Job(steps, self._wake, urgent=urgent)
        with self._changed:
            if self._draining:
                raise shutting_down()
            if len(self._active) + len(self._waiting) >= self._max_batch + self._max_queue:
                raise _queue_full(len(self._waiting))
            ahead = sum(other.urgent for other in self._waiting)
            self._waiting.insert(ahead if urgent else len(self._waiting), job)
            self._changed.notify()
        return job

    @property
    def load(self) -> tuple[int, int]:
        """Return how many jobs have begun, and how many wait to."""
        return len(self._active) + len(self._parked), len(self._waiting)

    async def drain(self, seconds: float) -> None:
        """Take no new job, give the others `seconds` to finish, then end them with an error."""
        with self._changed:
            self._draining = True
        deadline = asyncio.get_running_loop().time() + seconds
        while any(self.load) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        self.end_all()

    def end_all(self) -> None:
        """End every job with an error, now."""
        with self._changed:
            for job in self._all():
                job.cancel(shutting_down())

    def stop(self, seconds: float = 5.0) -> None:
        """End the thread after its current step; jobs that are left end with an error."""
        with self._changed:
            self._draining = self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _all(self) -> list[Job[Any]]:
        return [*self._active, *self._parked, *self._waiting]

    def _run(self) -> None:
        while (job := self._wait()) is not None:
            end = job.step()
            if end is not None:
                with self._changed:  # before the reader knows: who asks next finds the slot free
                    self._active.remove(job)
                job.hand_over(end)
        for job in self._all():
            job.cancel(shutting_down())
            job.hand_over(job.step())

    def _wait(self) -> Job[Any] | None:
        """Return the job whose turn it is, as soon as there is one; None when the thread ends."""
        with self._changed:
            while not self._stopped:
                job = self._next()
                if job is not None:
                    return job
                self._changed.wait()
        return None

    def _next(self) -> Job[Any] | None:
        """Return the job whose turn it is, None when all wait for their readers or there is none.

        Cancelled jobs leave at once, even when the batch is full.
        """
        for queue in (self._parked, self._waiting):
            gone = next((job for job in queue if job.cancelled), None)
            if gone is not None:
                queue.remove(gone)
                self._active.append(gone)
                return gone
        self._fill_slots()
        for _ in range(len(self._active)):
            self._active.rotate(-1)
            if not self._active[-1].paused:
                return self._active[-1]
        return None

    def _fill_slots(self) -> None:
        """Give the slots to jobs that can go on: the parked whose readers caught up, then new ones.

        At most max_queue jobs are parked, because they keep their caches; more of them keep slots.
        Urgent jobs may fill as many slots again.
        """
        while True:
            if (
                self._waiting
                and self._waiting[0].urgent
                and len(self._active) < 2 * self._max_batch
            ):
                self._active.append(self._waiting.popleft())
                continue
            ready = next((job for job in self._parked if not job.paused), None)
            if ready is None and not self._waiting:
                return
            if len(self._active) >= self._max_batch:
                idle = next((job for job in self._active if job.paused), None)
                full = ready is None and len(self._parked) >= self._max_queue
                if idle is None or full:
                    return
                self._active.remove(idle)
                self._parked.append(idle)
            if ready is None:
                self._active.append(self._waiting.popleft())
            else:
                self._parked.remove(ready)
                self._active.append(ready)


def shutting_down() -> RequestError:
    """Build the error for a request that meets the end of the server."""
    return RequestError(
        "the server is shutting down",
        why="it was asked to stop",
        fix="send the request again when it is back",
        code="shutting_down",
        status=503,
    )


def _queue_full(waiting: int) -> RequestError:
    return RequestError(
        "the queue is full",
        why=f"{waiting} requests wait already",
        fix="try again in a moment, or start the server with a larger queue",
        code="queue_full",
        status=429,
    )
