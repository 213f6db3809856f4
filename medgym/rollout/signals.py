"""Handlers of signals that raise, while an event loop runs.

A handler runs wherever the main thread happens to be. What it raises between two calls of the loop,
or while a lock is taken, is lost with what should have followed: a task that waits for this waits
for ever, cancelled or not. So it is raised after the loop has stopped what it runs.
"""

import asyncio
import os
import signal
import threading

# `signal.getsignal` looks for names too, which takes milliseconds for all signals.
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Self, TypeVar, cast

from medgym import interrupt

T = TypeVar("T")

Handler = Callable[[int, FrameType | None], Any]

_NUMBERS = tuple(map(int, signal.valid_signals() - {signal.SIGINT}))

PATIENCE = 5.0
"""Seconds that the loop gets to stop what it runs. After them it is raised wherever the main thread
is, and again after as many: a tool may keep the loop from stopping anything."""


class Deferred:
    """While it is entered, what handlers raise is raised when it is left.

    Ctrl-C is left to `asyncio.Runner`, and SIGTERM to medgym's own handler, which passes it on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._process = os.getpid()
        self._task: asyncio.Task[Any] | None = None
        self._raised: BaseException | None = None
        self._left = threading.Event()
        self._sending = threading.Lock()
        self._handlers: dict[int, Handler] = {}

    async def stopping(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work, which is cancelled when a handler raises."""
        self._task = asyncio.current_task()
        if self._raised is not None:  # before it began
            self._stop()
        return await work

    def __enter__(self) -> Self:
        self._task = None
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                handler = getsignal(number)
                if callable(handler) and not interrupt.is_own(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        with self._sending:  # from here on none is sent again
            self._left.set()
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._handle:  # else it was set anew meanwhile
                signal.signal(number, handler)
        self._handlers = {}
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked process has no loop that runs
            self._handlers[number](number, frame)
            return
        if self._raised is not None:
            if self._left.is_set():
                return
            raise self._raised
        try:
            self._handlers[number](number, frame)
        except BaseException as error:
            self._raised = error
            self._left = threading.Event()
            self._loop.call_soon_threadsafe(self._stop)
            threading.Thread(target=self._repeat, args=(number, self._left), daemon=True).start()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _repeat(self, number: int, left: threading.Event) -> None:
        """Send a signal again and again until what it should end was left."""
        while not left.wait(PATIENCE):
            with self._sending:
                if not left.is_set():
                    signal.pthread_kill(cast("int", threading.main_thread().ident), number)
