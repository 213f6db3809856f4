"""Work in a thread, awaited: `loop.run_in_executor` with one wake-up of the loop for many results.

When thousands of episodes use their tools at once, waking the event loop for each result costs as
much as some of what was done.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from medgym.inbox import inbox_of, resolve

T = TypeVar("T")


def in_thread(threads: Executor | None, do: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
    """Have `do(*args)` done by one of `threads` (by default the loop's own); await the result.

    A call that is cancelled while it waits for a thread is not made at all.
    """
    loop = asyncio.get_running_loop()
    if threads is None:
        return loop.run_in_executor(None, do, *args)
    inbox = inbox_of(loop)
    future: asyncio.Future[T] = loop.create_future()

    waiting = [future]

    def work() -> None:
        if not waiting[0].done():
            inbox.send(resolve, waiting.pop(), *_outcome(do, *args))

    def refused(submitted: Future[None]) -> None:  # where the system gives no thread for it
        if not submitted.cancelled() and (error := submitted.exception()) is not None and waiting:
            inbox.send(resolve, waiting.pop(), None, error)

    threads.submit(work).add_done_callback(refused)
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
