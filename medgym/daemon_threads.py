"""Threads that nothing waits for: neither an interrupt nor the end of the process.

Those of a `ThreadPoolExecutor` are waited for when the process ends, however they were left, and by
the caller that submits work while they start: an event loop beside a busy model on the same cores
would lose some ten milliseconds with each. Here another thread starts them.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

LONG = 0.002
"""Seconds of a processor from which on a call of sparing threads is long."""

LOOK = 0.02
"""Seconds between two looks at sparing threads that have more to do than they are."""

WAITED = 0.2
"""Seconds that a call waits for one of sparing threads before there are more of them."""


class DaemonThreads(Executor):
    """Threads that are started when they are needed, kept, and never waited for.

    Args:
        name: of the threads. most: how many there may be; None for no limit.
        sparing: for calls of which most may be short, such as to decode a small image. One thread
            does those: several would do nothing but wait for each other, and hold up the whole
            process, which has a single interpreter. There are more where a call is long, where
            calls wait for long, or where nothing gets done, as with a slow disk.
    """

    def __init__(self, name: str, most: int | None = None, *, sparing: bool = False) -> None:
        self._name = name
        self._most = most
        self._sparing = sparing
        self._closed = False
        self._empty()
        _ALL.add(self)

    def _empty(self) -> None:
        """Have no threads and no work, as in a process that was just forked."""
        self._lock = threading.Lock()
        self._count = self._started = self._done = 0
        self._undone = 0  # calls that wait or are being done
        self._is_watched = False
        self._done_before = 0
        self._waited = 0.0
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any], float] | None] = SimpleQueue()

    def submit(self, do: Callable[..., T], /, *args: Any, **options: Any) -> "Future[T]":
        """Have `do` done by a thread that is idle, or by a new one."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name} is closed")
            self._work.put((future, lambda: do(*args, **options), time.monotonic()))
            self._undone += 1
            # Exactly counted: behind one that hangs, a call would be late for no fault of its own.
            if self._is_short:
                if not (self._sparing and self._count):
                    self._start_one()
                elif not self._is_watched:
                    self._is_watched, self._done_before = True, self._done
                    _STARTER.watch(self._look)
        return future

    @property
    def _is_short(self) -> bool:
        """Whether there are fewer threads than could be of use, with the lock held."""
        return self._count < self._undone and (self._most is None or self._count < self._most)

    def _start_one(self) -> None:
        self._count += 1
        _STARTER.call(self._grow)

    def _look(self) -> bool:
        """Have twice as many of sparing threads where that helps; returns whether to look again."""
        with self._lock:
            self._is_watched = self._is_short
            if self._is_watched:
                if self._done == self._done_before or self._waited > WAITED:
                    for _ in range(self._count):
                        if self._is_short:
                            self._start_one()
                self._done_before = self._done
            return self._is_watched

    def _grow(self) -> None:
        """Start a thread, unless others have taken all work meanwhile."""
        with self._lock:
            if self._work.empty():
                self._count -= 1
                return
            self._started += 1
            name = f"{self._name}_{self._started}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError as error:  # the system gives no more threads
            with self._lock:
                self._count -= 1
                left = [] if self._count else self._left()  # where there are others, they do it
            for future in left:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                self._work.put(None)  # for the next thread
                return
            future, do, since = work
            result = failed = None
            waited, spent = time.monotonic() - since, time.thread_time()
            if future.set_running_or_notify_cancel():
                try:
                    result = do()
                except BaseException as error:
                    failed = error
            with self._lock:
                # First: who waits for the result may ask for the next one at once.
                self._undone -= 1
                self._done += 1
                self._waited = waited
                if self._sparing and self._is_short and time.thread_time() - spent > LONG:
                    self._start_one()
            if failed is not None:
                future.set_exception(failed)
            elif not future.cancelled():
                future.set_result(result)
            # An idle thread holds nothing of what it did, nor does an error that was raised here.
            del work, future, do, result, failed

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Take no more work. The threads end after what they do, and nothing waits for them."""
        with self._lock:
            self._closed = True
            left = self._left() if cancel_futures else []
            self._work.put(None)
        for future in left:
            future.cancel()

    def _left(self) -> list[Future[Any]]:
        """Take out the calls that wait, with the lock held."""
        found: list[Future[Any]] = []
        with suppress(Empty):
            while (work := self._work.get_nowait()) is not None:
                found.append(work[0])
            self._work.put(None)  # which ends the threads
        self._undone -= len(found)
        return found


class _Starter:
    """One thread that starts those of others, and looks whether sparing ones are enough."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._watched: list[Callable[[], bool]] = []
        self._lock = threading.Lock()
        self._running = False

    def call(self, grow: Callable[[], None]) -> None:
        """Have `grow` called."""
        self._calls.put(grow)
        with self._lock:
            if not self._running:
                threading.Thread(target=self._serve, name="medgym-starter", daemon=True).start()
                self._running = True

    def watch(self, look: Callable[[], bool]) -> None:
        """Have `look` called every `LOOK` seconds, as long as it returns True."""
        self.call(lambda: self._watched.append(look))

    def _serve(self) -> None:
        next_look = 0.0
        while True:
            left = max(0.0, next_look - time.monotonic()) if self._watched else None
            with suppress(Empty):
                self._calls.get(timeout=left)()
                if left is None and self._watched:
                    next_look = time.monotonic() + LOOK
            if self._watched and time.monotonic() >= next_look:
                self._watched = [look for look in self._watched if look()]
                next_look = time.monotonic() + LOOK


_STARTER = _Starter()
_ALL: WeakSet[DaemonThreads] = WeakSet()


def _begin_again() -> None:
    """A forked process has none of the threads of its parent."""
    global _STARTER
    _STARTER = _Starter()
    for threads in _ALL:
        threads._empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
