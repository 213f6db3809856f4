"""The deadline of a tool call: a late call is left to itself, and its caller continues without it.

Python cannot stop a thread. So a call runs in a daemon thread, which is given up if the call is
late: an interrupt and the end of the process do not wait for it.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from medgym.daemon_threads import DaemonThreads
from medgym.errors import RunError, ToolError

if TYPE_CHECKING:
    from medgym.tool import Tool

T = TypeVar("T")

MOST_LATE = 8
"""Late calls of one tool that may still be running; with one more, the run ends."""


class _Calls:
    """The threads of calls with a deadline, and the calls in them that are late, by tool."""

    def __init__(self) -> None:
        self.threads = DaemonThreads("medgym-call")
        self.late: Counter[str] = Counter()
        self.lock = threading.Lock()


_CALLS = _Calls()


def _begin_again() -> None:
    """A forked process has none of the threads of its parent."""
    global _CALLS
    _CALLS = _Calls()


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
