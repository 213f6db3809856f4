"""What a signal or a cancellation asked for is told from what a plug-in raised."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from medgym.asked_to_stop import asked_to_stop
from medgym.errors import RunError
from medgym.failures import Failure, at, calling, reason_of


def caught(do: Callable[[], object]) -> BaseException:
    try:
        do()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def raising(error: BaseException) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


def signalled(number: int) -> Callable[[], None]:
    def do() -> None:
        os.kill(os.getpid(), number)
        while True:
            pass

    return do


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError(), ValueError()],
)
def test_what_a_plug_in_raises_is_its_own(error: BaseException, handlers: None) -> None:
    assert not asked_to_stop(caught(raising(error)))
    assert not asked_to_stop(caught(lambda: sys.exit(2)))


def test_ctrl_c_is_an_interruption(handlers: None) -> None:
    assert asked_to_stop(caught(signalled(signal.SIGINT)))


def test_what_a_handler_raises_is_an_interruption(handlers: None) -> None:
    def handle(*_: object) -> None:
        sys.exit(143)

    signal.signal(signal.SIGTERM, handle)
    error = caught(signalled(signal.SIGTERM))
    assert isinstance(error, SystemExit)
    assert asked_to_stop(error)


def test_a_second_ctrl_c_in_the_event_loop_is_an_interruption(handlers: None) -> None:
    found = []

    async def stubborn() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                pass
        except KeyboardInterrupt as error:
            found.append(asked_to_stop(error))

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(stubborn())
    assert found == [True]


def test_no_signal_arrives_in_another_thread(handlers: None) -> None:
    found: list[bool] = []
    doing = threading.Thread(
        target=lambda: found.append(asked_to_stop(caught(raising(KeyboardInterrupt()))))
    )
    doing.start()
    doing.join()
    assert found == [False]


def test_a_cancelled_task_is_interrupted_and_one_that_says_so_itself_is_not() -> None:
    async def at_policy(do: Callable[[], Any]) -> None:
        with at("policy", "mine"):
            await do()

    async def saying() -> None:
        raise asyncio.CancelledError

    async def both() -> None:
        with pytest.raises(Failure, match="policy: mine raised CancelledError"):
            await at_policy(saying)
        waiting = asyncio.create_task(at_policy(asyncio.Event().wait))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(both())


def test_a_generator_that_is_closed_closes() -> None:
    def generator() -> Iterator[int]:
        with at("policy", "mine"):
            yield 1

    made = generator()
    next(made)
    made.close()  # type: ignore[attr-defined]
    with pytest.raises(Failure, match="tool: mine raised GeneratorExit"), at("tool", "mine"):
        raise GeneratorExit


def test_an_exception_that_cannot_say_what_it_is_is_still_named() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise SystemExit

    with pytest.raises(RunError, match=r"the judge raised Silent at .*; fix"), calling("the judge"):
        raise Silent
    assert reason_of(Silent()) == "Silent"
