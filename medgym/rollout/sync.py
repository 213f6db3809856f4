"""From an asynchronous stream to an ordinary iterator, wherever it is called from.

A script has no event loop and gets one; a notebook's own loop is running already, so there the
stream runs in a thread. A caller that stops iterating stops the episodes too.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from typing import TypeVar

from medgym.rollout.gc_tuning import searched_rarely
from medgym.rollout.signals import Deferred

Item = TypeVar("Item")

InThread = Callable[[], AbstractContextManager[object]]
"""Makes a context that is entered in the thread of a stream, such as `torch.autocast`."""


def drive(stream: AsyncGenerator[Item, None], in_thread: InThread = nullcontext) -> Iterator[Item]:
    """Iterate over a stream.

    Args:
        in_thread: what the caller has entered and what counts in its own thread only; entered again
            where the stream runs in another one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        yield from _drive(stream)
    else:
        # A notebook, whose own loop is running here.
        yield from _drive_in_thread(stream, in_thread)


def drive_each(stream: AsyncGenerator[list[Item], None]) -> Iterator[Item]:
    """Iterate over a stream of several items at a time, one by one.

    To leave the loop and to enter it again takes as long as much of a short episode.
    """
    with closing(drive(stream)) as found:  # type: ignore[type-var]
        for together in found:
            yield from together


def _drive(stream: AsyncGenerator[Item, None]) -> Iterator[Item]:
    ready: list[Item] = []

    step: asyncio.Task[None] | None = None

    async def following() -> None:
        nonlocal step
        step = asyncio.current_task()
        # Not returned: a runner describes its task, result and all, whenever it starts one.
        ready.append(await anext(stream))

    async def closing() -> None:
        if step is not None and not step.done():  # a signal's handler left it by SystemExit
            step.cancel()
            await asyncio.wait([step])
        await stream.aclose()

    with searched_rarely(), asyncio.Runner() as runner:  # ends whatever still runs when it is left
        signals = Deferred(runner.get_loop())
        try:
            while True:
                try:
                    with signals:
                        runner.run(signals.stopping(following()))
                except StopAsyncIteration:
                    return
                yield ready.pop()
        finally:
            # A signal may leave the loop between the end of a step and the stop that this asks for;
            # that stop would then end whatever runs next.
            with suppress(RuntimeError):
                runner.run(asyncio.sleep(0))
            with signals:
                runner.run(signals.stopping(closing()))


def _drive_in_thread(stream: AsyncGenerator[Item, None], in_thread: InThread) -> Iterator[Item]:
    ready: queue.Queue[Item | BaseException | None] = queue.Queue(maxsize=1)
    left = threading.Event()

    def hand_over(item: Item | BaseException | None) -> None:
        while not left.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            with in_thread():
                for item in _drive(stream):
                    hand_over(item)
                    if left.is_set():
                        return
            hand_over(None)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:  # the caller may stop iterating: then nothing runs on unseen
        left.set()
        thread.join()
