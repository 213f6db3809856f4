"""From a stream to an iterator: nothing is described, held back or left running."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from medgym.rollout.sync import drive


class Shy:
    """Must not be described: a trajectory of many thousand tokens takes its time for that."""

    def __repr__(self) -> str:
        raise AssertionError("described")


async def stream(number: int) -> AsyncGenerator[Shy, None]:
    for _ in range(number):
        await asyncio.sleep(0)
        yield Shy()


def test_items_come_one_by_one_and_undescribed() -> None:
    assert len(list(drive(stream(3)))) == 3


def test_also_where_an_event_loop_is_running() -> None:
    async def notebook() -> int:
        return len(list(drive(stream(3))))

    assert asyncio.run(notebook()) == 3


def test_what_counts_in_one_thread_is_entered_where_the_stream_runs() -> None:
    own = threading.local()

    @contextmanager
    def entered() -> Iterator[None]:
        own.entered = True
        yield
        own.entered = False

    async def stream() -> AsyncGenerator[bool, None]:
        yield getattr(own, "entered", False)

    async def notebook() -> list[bool]:
        with entered():
            return [*drive(stream()), *drive(stream(), entered)]

    assert asyncio.run(notebook()) == [False, True]


def test_whoever_stops_asking_ends_the_stream() -> None:
    ended = []

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            ended.append(True)

    items = drive(endless())
    assert next(items) == 1
    items.close()  # type: ignore[attr-defined]
    assert ended == [True]


def test_a_stop_that_a_signal_left_behind_does_not_keep_the_stream_from_closing() -> None:
    closed = []

    async def stream() -> AsyncGenerator[int, None]:
        loop = asyncio.get_running_loop()
        try:
            yield 1
            loop.call_soon(loop.call_soon, loop.stop)  # is still to come when this step has ended
            yield 2
        finally:
            closed.append(True)

    iterator = drive(stream())
    assert [next(iterator), next(iterator)] == [1, 2]
    iterator.close()  # type: ignore[attr-defined]
    assert closed == [True]
