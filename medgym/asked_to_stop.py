"""How to tell a stop that was asked for from what a plug-in raised itself.

A user stops a command by a signal, and the event loop stops a task by cancelling it. Both arrive as
exceptions in whatever code runs at that moment, a plug-in's too. Such a stop must pass. The same
exceptions raised by the plug-in itself are failures of the plug-in.
"""

import asyncio
import dis
import signal
import threading
from asyncio.runners import Runner
from types import CodeType, FrameType, TracebackType
from typing import Any

from medgym import interrupt

_RAISE = dis.opmap["RAISE_VARARGS"]


def asked_to_stop(error: BaseException) -> bool:
    """Whether an exception asks the code that runs to stop, rather than being raised by it.

    It must be asked in the thread in which the exception was caught.

    - A signal's handler runs in the main thread. What it raises has the handler in its traceback.
      Python's own handler of Ctrl-C is no Python code and leaves no trace, but nor does it stand at
      a `raise` statement.
    - A task that was cancelled says so.
    - A generator that is closed meets `GeneratorExit` where it waits, not at a `raise` statement.
    """
    if isinstance(error, asyncio.CancelledError):
        return _is_cancelled()
    if isinstance(error, GeneratorExit):
        return not _stands_at_raise(error)
    if threading.current_thread() is not threading.main_thread():
        return False
    if interrupt.came() or _passed_handler(error):
        return True
    return isinstance(error, KeyboardInterrupt) and not _stands_at_raise(error)


def _is_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # this thread has no event loop
        return False
    return task is not None and task.cancelling() > 0


def _stands_at_raise(error: BaseException) -> bool:
    """Whether the statement that raised it is a `raise` of Python code."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE


def _passed_handler(error: BaseException) -> bool:
    """Whether it was raised in a handler of signals."""
    codes = {Runner._on_sigint.__code__}  # type: ignore[attr-defined]
    for number in signal.valid_signals():
        code = _code_of(signal.getsignal(number))
        if code is not None:
            codes.add(code)
    return any(frame.f_code in codes for frame in _frames(error.__traceback__))


def _code_of(handler: Any) -> CodeType | None:
    while hasattr(handler, "func"):  # of a `functools.partial`
        handler = handler.func
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _frames(trace: TracebackType | None) -> list[FrameType]:
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return frames
