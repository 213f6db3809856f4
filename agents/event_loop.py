"""One event loop on a thread of its own, for what must outlive the loops of its callers.

Connections and engines belong to the loop on which they were made, but a policy may be asked from
several loops: every `collect` brings its own. What needs one loop for life runs on this one.
Callers wait for it on theirs.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Generic, TypeVar

from medgym.inbox import inbox_of, resolve

T = TypeVar("T")


class _Sent(Generic[T]):
    """Work that another loop does.

    Attributes:
        future: of the loop that waits for it.
    """

    def __init__(self, work: Coroutine[object, object, T], loop: asyncio.AbstractEventLoop) -> None:
        asking = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = asking.create_future()
        self.future.add_done_callback(self._left)
        self._answers, self._orders = inbox_of(asking), inbox_of(loop)
        self._work: Coroutine[object, object, T] | None = work
        self._task: asyncio.Task[T] | None = None
        self._orders.send(self._begin)

    def _left(self, future: "asyncio.Future[T]") -> None:
        """The caller has its result, or was cancelled."""
        if future.cancelled():
            self._orders.send(self._cancel)

    def _begin(self) -> None:
        if self._work is not None:
            self._task = asyncio.get_running_loop().create_task(self._work)
            self._task.add_done_callback(self._end)
            self._work = None

    def _cancel(self) -> None:
        if self._work is not None:  # it has not begun
            self._work.close()
            self._work = None
        elif self._task is not None:
            self._task.cancel()

    def _end(self, task: "asyncio.Task[T]") -> None:
        future, self._task = self.future, None
        if task.cancelled():
            self._answers.send(future.cancel)
        elif (error := task.exception()) is not None:
            self._answers.send(resolve, future, None, error)
        else:
            self._answers.send(resolve, future, task.result(), None)


class BackgroundLoop:
    """A thread with a running event loop, started on first use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __reduce__(self) -> tuple[type["BackgroundLoop"], tuple[str]]:
        return BackgroundLoop, (self._name,)  # another process starts its own loop

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop

    async def run(self, work: Coroutine[object, object, T]) -> T:
        """Await `work` on the loop. Cancelling the caller cancels it."""
        return await _Sent(work, self._running()).future

    def wait(self, work: Coroutine[object, object, T]) -> T:
        """Block until `work` is done on the loop. Not to be called from the loop itself."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def close(self, last: Coroutine[object, object, object] | None = None) -> None:
        """Cancel what runs, await `last` and stop the thread. The next use starts a new one."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            if last is not None:
                last.close()
            return
        asyncio.run_coroutine_threadsafe(_wind_up(last), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _wind_up(last: Coroutine[object, object, object] | None) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if last is not None:
        await last
