"""Work in threads: results, errors and cancellation as with `run_in_executor`."""

import asyncio
import gc
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from medgym import inbox
from medgym.threads import in_thread


@pytest.fixture
def threads() -> Executor:
    return ThreadPoolExecutor(4)


def test_every_result_comes_back_to_whoever_asked(threads: Executor) -> None:
    async def ask() -> list[int]:
        return await asyncio.gather(*(in_thread(threads, pow, n, 2) for n in range(500)))

    for _ in range(2):  # on a loop of its own each time
        assert asyncio.run(ask()) == [n * n for n in range(500)]


def test_without_threads_the_loop_has_its_own() -> None:
    async def ask() -> str:
        return (await in_thread(None, threading.current_thread)).name

    assert asyncio.run(ask()) != threading.current_thread().name


@pytest.mark.parametrize(
    ("error", "raised"), [(ValueError("no"), ValueError), (StopIteration("no"), RuntimeError)]
)
def test_an_error_is_raised_where_it_is_awaited(
    threads: Executor, error: Exception, raised: type[Exception]
) -> None:
    def fail() -> None:
        raise error

    async def ask() -> list[object]:
        both = in_thread(threads, fail), in_thread(threads, pow, 2, 2)
        return await asyncio.gather(*both, return_exceptions=True)

    failed, other = asyncio.run(ask())
    assert isinstance(failed, raised)
    assert "no" in str(failed)
    assert other == 4


def test_what_was_cancelled_is_not_begun() -> None:
    threads, go = ThreadPoolExecutor(1), threading.Event()
    done: list[int] = []

    async def ask() -> None:
        first = in_thread(threads, go.wait)
        second = in_thread(threads, done.append, 2)
        second.cancel()
        go.set()
        assert await first
        assert await in_thread(threads, len, done) == 0

    asyncio.run(ask())


def test_a_result_that_comes_after_the_loop_is_no_fault() -> None:
    threads, go = ThreadPoolExecutor(1), threading.Event()

    async def leave() -> None:
        in_thread(threads, go.wait)

    asyncio.run(leave())
    go.set()
    assert threads.submit(int, "7").result() == 7


def test_a_loop_that_is_over_is_forgotten(threads: Executor) -> None:
    async def ask() -> int:
        return await in_thread(threads, pow, 2, 2)

    gc.collect()
    before = len(inbox._INBOXES)
    for _ in range(3):
        asyncio.run(ask())
    for _ in range(200):  # a thread may still be on its way out of what it sent
        gc.collect()
        if len(inbox._INBOXES) <= before:
            return
        time.sleep(0.02)
    raise AssertionError("a loop is still held")
