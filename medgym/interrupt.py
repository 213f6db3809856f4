"""Ctrl-C and SIGTERM end a command within two seconds, and a second signal ends it at once.

The first signal lets the command end in order, so that what is finished is stored. A command can be
held up: by a tool that hangs, a step of training, a full disk. So a thread watches for signals as
the operating system delivers them, and ends the process if it has not ended by itself. A run whose
process ends at any moment can be resumed. Only what is being stored at that moment gets more time.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

PATIENCE = 1.7
"""Seconds that a command gets to end in order."""

STORING = 10.0
"""Seconds that it gets while it stores what is finished: a moment, but not on a busy machine."""

PULSE = 0.05
"""Seconds between two looks at whether all is stored."""

NOTICE = 0.2
"""Seconds in which the thread that watches says which signal it was."""

SHOW_CURSOR = "\x1b[?25h"

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """Of this process.

    Attributes:
        first: the first signal that came, None before it. resume: how the user resumes, if it is
            known. said: whether the line about the interruption is written. storing: how many
            things are being stored. watching: whether signals are watched for.
    """

    first: int | None = None
    resume: str = ""
    said: bool = False
    storing: int = 0
    watching: bool = False


def resumed_by(how: str) -> None:
    """Say how what runs now is resumed, as in `run the same command again`."""
    _State.resume = how


@contextmanager
def storing() -> Iterator[None]:
    """Finished work is being stored meanwhile."""
    _State.storing += 1
    try:
        yield
    finally:
        _State.storing -= 1


def came() -> bool:
    """Whether a signal asked this process to end."""
    return _State.first is not None


def status() -> int:
    """The exit status of an interrupted command: 130 after Ctrl-C, 143 after SIGTERM."""
    end = time.monotonic() + NOTICE
    while _State.watching and not came() and time.monotonic() < end:
        time.sleep(0.001)  # a busy command can end before the thread that watches had its turn
    return 128 + (_State.first or signal.SIGINT)


def say() -> None:
    """Write the one line about the interruption, if it is not written yet."""
    if not _State.said:
        _State.said = True
        how = f"; to resume, {_State.resume}" if _State.resume else ""
        print(f"medgym: interrupted{how}", file=sys.stderr, flush=True)


@contextmanager
def watched() -> Iterator[None]:
    """Watch for signals while a command runs, and from the first one until the process ends."""
    _State.first, _State.resume, _State.said = None, "", False
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":
        yield
        return
    out, into = os.pipe()
    os.set_blocking(into, False)
    earlier = signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    if earlier != -1:  # a program that calls the command watches for itself
        signal.set_wakeup_fd(earlier)
        os.close(out)
        os.close(into)
        yield
        return
    _State.watching = True
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if on_sigterm == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    atexit.unregister(_leave)
    atexit.register(_leave)
    threading.Thread(target=_watch, args=(out,), name="medgym-signals", daemon=True).start()
    try:
        yield
    finally:
        if not came():
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, on_sigterm)
            os.close(into)  # which ends the thread
            _State.watching = False


def _leave_to_parent() -> None:
    """In a forked process: its signals are its own, and what it is sent ends it as ever.

    It shares the pipe. What is sent to it would be read as sent to its parent.
    """
    if not _State.watching:
        return
    _State.watching = False
    atexit.unregister(_leave)
    with suppress(ValueError):  # Python does not take it for the main thread
        signal.set_wakeup_fd(-1)
        if signal.getsignal(signal.SIGTERM) is _interrupt:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def is_own(handler: object) -> bool:
    """Whether a handler of signals is the one of this module."""
    return handler is _interrupt


def _leave() -> None:
    """Skip the interpreter's own end, which takes seconds with large libraries.

    What was registered to be done at the end is done: this comes last, being registered first.
    """
    if came():
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(status())


def _watch(out: int) -> None:
    """Read the numbers of signals as they come."""
    since = 0.0
    while True:
        left = None
        if _State.first is not None:
            passed = time.monotonic() - since
            if passed > (STORING if _State.storing else PATIENCE):
                _end()
            left = max(PATIENCE - passed, PULSE)
        if not select.select([out], [], [], left)[0]:
            continue
        numbers = os.read(out, 64)
        if not numbers:
            os.close(out)
            return
        for number in (n for n in numbers if n in SIGNALS):
            if _State.first is not None:
                _end()
            _State.first, since = number, time.monotonic()


def _end() -> NoReturn:
    """End the process now, whatever it does."""
    _within(0.2, _say_all)
    _within(0.2, _end_children)
    os._exit(status())


def _within(seconds: float, do: Callable[[], None]) -> None:
    """Do what may be held up by what the process does now."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)


def _say_all() -> None:
    with suppress(Exception):
        if sys.stderr.isatty():
            sys.stderr.write(SHOW_CURSOR)  # which a progress bar hides
        say()
        sys.stdout.flush()


def _end_children() -> None:
    """Those of `multiprocessing`, which the process would end at its own end."""
    if "multiprocessing.process" in sys.modules:
        with suppress(Exception):
            for child in sys.modules["multiprocessing.process"].active_children():
                child.terminate()
