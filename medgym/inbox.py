"""Calls on their way to an event loop from other threads: one wake-up of the loop for many.

Each wake-up writes to a socket, and the thread that writes lets go of the interpreter meanwhile.
Beside other busy threads it gets it back some milliseconds later, so hundreds of wake-ups cost
more than what they announce. Here a call that finds the loop about to be woken goes with the
others.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, ref


class Inbox:
    """The calls that one event loop is about to make. They must not raise."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)  # which holds these, and must be free to go
        self._arrived: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._called = False

    def send(self, do: Callable[..., object], *args: Any) -> None:
        """Have the loop call `do(*args)`, from whichever thread; nothing where it has ended."""
        self._arrived.append((do, args))
        if not self._called:
            self._called, loop = True, self._loop()
            if loop is None:
                return
            with suppress(RuntimeError):  # the loop has closed, and nothing waits any more
                loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # first: what arrives from here on calls again
        while self._arrived:
            do, args = self._arrived.popleft()
            do(*args)


_INBOXES: WeakKeyDictionary[asyncio.AbstractEventLoop, Inbox] = WeakKeyDictionary()


def inbox_of(loop: asyncio.AbstractEventLoop) -> Inbox:
    """The inbox of a loop."""
    inbox = _INBOXES.get(loop)
    if inbox is None:
        inbox = _INBOXES.setdefault(loop, Inbox(loop))
    return inbox


def resolve(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    """Give a future its result or its error, unless its caller has left."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
