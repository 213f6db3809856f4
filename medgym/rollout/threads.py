"""Work in a thread, awaited: `loop.run_in_executor` with one wake-up of the loop for many results.

When thousands of episodes use their tools at once, waking the event loop for each result costs as
much as some of what was done. Here a result that finds the loop about to be woken goes with the
others.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")


class _Returns:
    """Results on their way to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)  # which holds these, and must be free to go
        self._arrived: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._called = False

    def send(self, future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        """Called by the thread that did the work."""
        self._arrived.append((future, result, error))
        if not self._called:
            self._called, loop = True, self._loop()
            if loop is None:
                return
            with suppress(RuntimeError):  # the loop has closed, and nothing waits any more
                loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # first: what arrives from here on calls again
        while self._arrived:
            future, result, error = self._arrived.popleft()
            if future.done():  # the caller was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


_RETURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Returns] = WeakKeyDictionary()


def in_thread(threads: Executor | None, do: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
    """Have `do(*args)` done by one of `threads` (by default the loop's own); await the result.

    A call that is cancelled while it waits for a thread is not made at all.
    """
    loop = asyncio.get_running_loop()
    if threads is None:
        return loop.run_in_executor(None, do, *args)
    returns = _RETURNS.get(loop)
    if returns is None:
        returns = _RETURNS[loop] = _Returns(loop)
    future: asyncio.Future[T] = loop.create_future()

    waiting = [future]

    def work() -> None:
        if not waiting[0].done():
            returns.send(waiting.pop(), *_outcome(do, *args))

    threads.submit(work)
    return future


def _outcome(do: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """What `do` returned or raised.

    An error holds the frames that it passed, and those that called them. None of them may hold the
    future that takes the error: both would stay, with all images of the episode, until the next
    search for garbage.
    """
    try:
        return do(*args), None
    except StopIteration as error:  # which no future can carry
        return None, RuntimeError(f"StopIteration: {error}")
    except BaseException as error:
        return None, error
