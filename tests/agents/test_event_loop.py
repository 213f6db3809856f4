"""Work on a loop of its own: results, errors, cancellation, and the end of the loop."""

import asyncio
import gc
import threading
import weakref

import pytest

from medgym.agents.event_loop import BackgroundLoop


def test_results_and_errors_come_to_whoever_asked() -> None:
    background = BackgroundLoop("tried")

    async def work(number: int) -> tuple[int, str]:
        await asyncio.sleep(0)
        if number == 7:
            raise ValueError("seven")
        return number, threading.current_thread().name

    async def ask() -> list[object]:
        asked = (background.run(work(number)) for number in range(200))
        return await asyncio.gather(*asked, return_exceptions=True)

    for _ in range(2):  # from a loop of its own each time
        found = asyncio.run(ask())
        assert isinstance(found.pop(7), ValueError)
        assert found == [(number, "tried") for number in range(200) if number != 7]
    background.close()


def test_cancelling_the_caller_cancels_the_work() -> None:
    background, begun, ended = BackgroundLoop("tried"), threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    async def impatient() -> None:
        asking = asyncio.create_task(background.run(work()))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(impatient())
    assert ended.wait(60)
    background.close()


def test_closing_cancels_whoever_waits() -> None:
    background, begun = BackgroundLoop("tried"), threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(600)

    async def ask() -> None:
        asking = asyncio.create_task(background.run(work()))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        await asyncio.to_thread(background.close)
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(ask())


def test_an_error_holds_nothing_of_whoever_asked() -> None:
    background = BackgroundLoop("tried")

    class Pixels:
        pass

    async def fail() -> None:
        raise ValueError("no")

    async def ask() -> "weakref.ref[Pixels]":
        pixels = Pixels()
        try:
            await background.run(fail())
        except ValueError:
            return weakref.ref(pixels)
        raise AssertionError("it fails")

    gc.disable()
    try:
        pixels = asyncio.run(ask())
        background.close()  # its thread may still be on its way out of what it sent
        assert pixels() is None, "gone without a search for garbage"
    finally:
        gc.enable()
