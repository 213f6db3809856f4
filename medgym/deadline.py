"""The deadline of a tool call: a late call is left to itself, and its caller continues without it.

Python cannot stop a thread. So a call runs in a daemon thread, which is given up if the call is
late: an interrupt and the end of the process do not wait for it.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from medgym.errors import RunError, ToolError

if TYPE_CHECKING:
    from medgym.tool import Tool

T = TypeVar("T")

MOST_LATE = 8
"""Late calls of one tool that may still be running; with one more, the run ends."""


class DaemonThreads(Executor):
    """Threads that are started when they are needed, kept, and never waited for.

    Those of a `ThreadPoolExecutor` are waited for when the process ends, however they were left,
    and by the caller that submits work while they start: an event loop beside a busy model on the
    same cores would lose some ten milliseconds with each. Here another thread starts them.

    Args:
        name: of the threads. most: how many there may be; None for no limit.
    """

    def __init__(self, name: str, most: int | None = None) -> None:
        self._name = name
        self._most = most
        self._count = self._started = 0
        self._undone = 0  # calls that wait or are being done
        self._lock = threading.Lock()
        self._closed = False
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, do: Callable[..., T], /, *args: Any, **options: Any) -> "Future[T]":
        """Have `do` done by a thread that is idle, or by a new one."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name} is closed")
            self._work.put((future, lambda: do(*args, **options)))
            self._undone += 1
            # Exactly counted: behind one that hangs, a call would be late for no fault of its own.
            if self._count < self._undone and (self._most is None or self._count < self._most):
                self._count += 1
                _STARTER.call(self._grow)
        return future

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
            with suppress(Empty):
                if work := self._work.get_nowait():
                    work[0].set_exception(error)

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                self._work.put(None)  # for the next thread
                return
            future, do = work
            result = failed = None
            if future.set_running_or_notify_cancel():
                try:
                    result = do()
                except BaseException as error:
                    failed = error
            with self._lock:
                self._undone -= (
                    1  # first: who waits for the result may ask for the next one at once
                )
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
            while cancel_futures:
                try:
                    work = self._work.get_nowait()
                except Empty:
                    break
                if work is not None:
                    work[0].cancel()
            self._work.put(None)


class _Starter:
    """One thread that starts those of others."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._running = False

    def call(self, grow: Callable[[], None]) -> None:
        """Have `grow` called."""
        self._calls.put(grow)
        with self._lock:
            if not self._running:
                threading.Thread(target=self._serve, name="medgym-starter", daemon=True).start()
                self._running = True

    def _serve(self) -> None:
        while True:
            self._calls.get()()


_STARTER = _Starter()


class _Calls:
    """The threads of calls with a deadline, and the calls in them that are late, by tool."""

    def __init__(self) -> None:
        self.threads = DaemonThreads("medgym-call")
        self.late: Counter[str] = Counter()
        self.lock = threading.Lock()


_CALLS = _Calls()


def _begin_again() -> None:
    """A forked process has none of the threads of its parent."""
    global _CALLS, _STARTER
    _CALLS, _STARTER = _Calls(), _Starter()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def within(tool: "Tool", do: Callable[..., T], *args: Any) -> T:
    """`do(*args)`, which calls a tool, within the tool's deadline.

    Raises:
        ToolError: it is late, which is no mistake of the policy; its fault is `late`.
        RunError: too many late calls of this tool are still running.
    """
    deadline = tool.deadline_s
    if deadline is None:
        return do(*args)
    calls, name = _CALLS, tool.name
    call: Future[T] = calls.threads.submit(copy_context().run, do, *args)
    try:
        try:
            return call.result(deadline)
        except TimeoutError:  # the tool's own as well
            if call.done():
                return call.result()
        with calls.lock:
            calls.late[name] += 1
            running = calls.late[name]
        call.add_done_callback(lambda _: _ended(calls, name))
    finally:
        del call  # which holds an error that holds this frame, and so the episode's images
    if running > MOST_LATE:
        raise RunError(
            f"{running} calls of the tool {name} are still running after their deadline of "
            f"{deadline:g} s; fix: find out why it hangs, or raise its deadline_s"
        )
    raise late(name, deadline)


def late(name: str, deadline: float) -> ToolError:
    """What a policy reads of a call that is late."""
    return ToolError(
        f"{name} took longer than {deadline:g} s and was stopped; expected another call or an "
        "answer",
        "late",
    )


def _ended(calls: _Calls, name: str) -> None:
    with calls.lock:
        calls.late[name] -= 1
