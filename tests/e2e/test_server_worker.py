"""The engine thread alone: fairness, cancelling, pausing, errors and the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from midfill.errors import RequestError
from midfill.server import sse
from midfill.server.worker import AHEAD, Worker


@asynccontextmanager
async def working(max_batch: int = 4, max_queue: int = 4) -> AsyncIterator[Worker]:
    worker = Worker(max_batch=max_batch, max_queue=max_queue)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def endless(log: list[str], name: str = "x") -> Iterator[int]:
    try:
        number = 0
        while True:
            log.append(name)
            time.sleep(0.001)
            yield number
            number += 1
    finally:
        log.append(f"closed {name}")


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not check():
            await asyncio.sleep(0.005)


def test_a_job_gives_all_it_makes_and_ends_for_good():
    async def main() -> None:
        async with working() as worker:
            job = worker.submit(iter(range(500)))
            assert [item async for item in job] == list(range(500))
            assert [item async for item in job] == []
            await until(lambda: worker.load == (0, 0))

    asyncio.run(main())


def test_jobs_take_turns():
    async def main() -> None:
        log: list[str] = []
        async with working() as worker:
            first, second = (worker.submit(endless(log, name)) for name in "ab")
            for _ in range(20):
                await anext(first)
                await anext(second)
            first.cancel()
            second.cancel()
            await until(lambda: worker.load == (0, 0))
        turns = [name for name in log if len(name) == 1]
        begin = turns.index("b")
        assert turns[begin : begin + 20] == ["b", "a"] * 10

    asyncio.run(main())


def test_a_job_waits_for_a_slow_reader_and_goes_on():
    async def main() -> None:
        log: list[str] = []
        async with working() as worker:
            job = worker.submit(endless(log))
            await until(lambda: len(log) == AHEAD)
            await asyncio.sleep(0.05)
            assert len(log) == AHEAD
            assert [await anext(job) for _ in range(3 * AHEAD)] == list(range(3 * AHEAD))

    asyncio.run(main())


def test_jobs_without_readers_give_their_slots_away_and_get_them_back():
    async def main() -> None:
        async with working(max_batch=2, max_queue=2) as worker:
            logs: list[list[str]] = [[] for _ in range(4)]
            stuck = [worker.submit(endless(log)) for log in logs[:2]]
            await until(lambda: [len(log) for log in logs[:2]] == [AHEAD, AHEAD])
            short = worker.submit(iter(range(3 * AHEAD)))
            assert [item async for item in short] == list(range(3 * AHEAD))
            stuck += [worker.submit(endless(log)) for log in logs[2:]]
            await until(lambda: [len(log) for log in logs] == [AHEAD] * 4)
            assert worker.load == (4, 0)
            for job in stuck:
                assert [await anext(job) for _ in range(2 * AHEAD)] == list(range(2 * AHEAD))
            for job in stuck:
                job.cancel()
            await until(lambda: worker.load == (0, 0))
        assert all(log[-1] == "closed x" for log in logs)

    asyncio.run(main())


def test_no_more_jobs_than_the_queue_holds_are_parked():
    async def main() -> None:
        async with working(max_batch=1, max_queue=1) as worker:
            logs: list[list[str]] = [[] for _ in range(3)]
            jobs = []
            for log in logs[:2]:
                jobs.append(worker.submit(endless(log)))
                await until(lambda log=log: len(log) == AHEAD)
            jobs.append(worker.submit(endless(logs[2])))
            await asyncio.sleep(0.05)
            assert (worker.load, logs[2]) == ((2, 1), [])
            with pytest.raises(RequestError, match="the queue is full"):
                worker.submit(endless([]))
            assert [await anext(jobs[0]) for _ in range(2 * AHEAD)] == list(range(2 * AHEAD))
            jobs[1].cancel()
            jobs[0].cancel()
            assert await anext(jobs[2]) == 0

    asyncio.run(main())


def test_a_parked_job_ends_with_the_server():
    async def main() -> None:
        log: list[str] = []
        async with working(max_batch=1) as worker:
            parked = worker.submit(endless(log))
            await until(lambda: len(log) == AHEAD)
            await anext(worker.submit(endless([])))
        assert log[-1] == "closed x"
        with pytest.raises(RequestError, match="shutting down"):
            _ = [item async for item in parked]

    asyncio.run(main())


def test_cancelling_closes_the_work_wherever_it_is():
    async def main() -> None:
        log: list[str] = []
        async with working(max_batch=1) as worker:
            running, waiting = (worker.submit(endless(log, name)) for name in "ab")
            await anext(running)
            waiting.cancel()
            assert [item async for item in waiting] == []
            running.cancel()
            await until(lambda: worker.load == (0, 0))
        assert log[-1] == "closed a"
        assert "b" not in log

    asyncio.run(main())


def test_an_error_reaches_its_reader_only():
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("bad")

    async def main() -> None:
        async with working() as worker:
            fine, bad = worker.submit(iter(range(3))), worker.submit(broken())
            assert await anext(bad) == 1
            with pytest.raises(ValueError, match="bad"):
                await anext(bad)
            assert [item async for item in fine] == [0, 1, 2]

    asyncio.run(main())


def test_urgent_jobs_pass_the_others():
    async def main() -> None:
        log: list[str] = []
        async with working(max_batch=1) as worker:
            running, waiting = (worker.submit(endless(log, name)) for name in "ab")
            await anext(running)
            urgent = worker.submit(iter([1, 2]), urgent=True)
            assert [item async for item in urgent] == [1, 2]
            assert "b" not in log
            first, second = (worker.submit(endless(log, name), urgent=True) for name in "cd")
            await anext(first)
            assert worker.load == (2, 2)  # as many slots again, no more
            for job in (running, waiting, first, second):
                job.cancel()

    asyncio.run(main())


def test_a_full_queue_refuses():
    async def main() -> None:
        log: list[str] = []
        async with working(max_batch=1, max_queue=1) as worker:
            worker.submit(endless(log))
            worker.submit(endless(log))
            with pytest.raises(RequestError) as error:
                worker.submit(endless(log))
            assert (error.value.status, error.value.code) == (429, "queue_full")

    asyncio.run(main())


def test_draining_lets_the_short_finish_and_ends_the_long():
    async def main() -> None:
        log: list[str] = []
        async with working() as worker:
            short, long = worker.submit(iter(range(10))), worker.submit(endless(log))
            draining = asyncio.create_task(worker.drain(0.1))
            assert [item async for item in short] == list(range(10))
            with pytest.raises(RequestError) as error:
                worker.submit(iter(()))
            assert error.value.status == 503
            with pytest.raises(RequestError, match="shutting down"):
                async for _ in long:
                    pass
            await draining
        assert log[-1] == "closed x"

    asyncio.run(main())


def test_silence_is_filled_with_comments_and_the_stream_always_ends():
    async def chunks(error: Exception | None) -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(0.12)
        yield {"text": "é\u2028"}
        if error:
            raise error

    async def read(error: Exception | None) -> list[bytes]:
        found = sse.events(chunks(error), lambda error: {"error": str(error)}, silence=0.05)
        return [event async for event in found]

    keep, end = sse.KEEP_ALIVE, sse.DONE
    said = b'data: {"text":"\\u00e9\\u2028"}\n\n'
    assert asyncio.run(read(None)) == [keep, keep, said, end]
    failed = b'data: {"error":"no"}\n\n'
    assert asyncio.run(read(ValueError("no"))) == [keep, keep, said, failed, end]


def test_leaving_a_stream_cancels_what_it_waited_for():
    async def main() -> None:
        async with working() as worker:
            job = worker.submit(endless([]))
            events = sse.events(as_chunks(job), lambda error: {})
            await anext(events)
            waiting = asyncio.ensure_future(anext(events))
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            job.cancel()
            await until(lambda: worker.load == (0, 0))

    async def as_chunks(job: Any) -> AsyncIterator[dict[str, Any]]:
        async for item in job:
            yield {"item": item}

    asyncio.run(main())
