"""What a handler of signals raises ends what the loop runs, wherever the loop is."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterator

import pytest

from medgym.rollout import signals
from medgym.rollout.sync import drive


class TimeIsUpError(BaseException):
    """As the exceptions of pytest, no `Exception`."""


@pytest.fixture(autouse=True)
def _raising() -> Iterator[None]:
    def handle(*_: object) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, handle)
    yield
    assert signal.getsignal(signal.SIGALRM) is handle
    signal.signal(signal.SIGALRM, before)


def _stream(do: Callable[[], object], closed: list[bool]) -> AsyncGenerator[int, None]:
    async def stream() -> AsyncGenerator[int, None]:
        try:
            yield 1
            do()
            await asyncio.sleep(1)
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    return stream()


def _between_calls() -> None:
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGALRM)


def _while_it_waits() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.02)


def _in_the_task() -> None:
    signal.raise_signal(signal.SIGALRM)


@pytest.mark.parametrize("do", [_between_calls, _while_it_waits, _in_the_task])
def test_it_is_raised_and_the_stream_is_closed(do: Callable[[], object]) -> None:
    closed: list[bool] = []
    with pytest.raises(TimeIsUpError):
        list(drive(_stream(do, closed)))
    assert closed == [True]


def test_also_where_a_task_keeps_the_loop_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> None:
        signal.raise_signal(signal.SIGALRM)
        time.sleep(60)

    monkeypatch.setattr(signals, "PATIENCE", 0.02)
    began = time.monotonic()
    with pytest.raises(TimeIsUpError):
        list(drive(_stream(hang, [])))
    assert time.monotonic() - began < 45
