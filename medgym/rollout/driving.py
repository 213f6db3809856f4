"""From an asynchronous stream to an ordinary iterator, wherever it is called from.

A script has no event loop and gets one; a notebook's own loop is running already, so there the
stream runs in a thread. Whoever stops iterating stops the playing too.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Iterator

from medgym.trajectory import Trajectory


def drive(stream: AsyncGenerator[Trajectory, None]) -> Iterator[Trajectory]:
    """Iterate over a stream of trajectories."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        yield from _drive(stream)
    else:
        yield from _drive_in_thread(stream)  # a notebook, whose own loop is running here


def _drive(stream: AsyncGenerator[Trajectory, None]) -> Iterator[Trajectory]:
    async def following() -> Trajectory:
        return await anext(stream)

    async def closing() -> None:
        await stream.aclose()

    with asyncio.Runner() as runner:  # ends whatever still runs when it is left
        try:
            while True:
                try:
                    trajectory = runner.run(following())
                except StopAsyncIteration:
                    return
                yield trajectory
        finally:
            runner.run(closing())


def _drive_in_thread(stream: AsyncGenerator[Trajectory, None]) -> Iterator[Trajectory]:
    ready: queue.Queue[Trajectory | BaseException | None] = queue.Queue(maxsize=1)
    left = threading.Event()

    def hand_over(item: Trajectory | BaseException | None) -> None:
        while not left.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for trajectory in _drive(stream):
                hand_over(trajectory)
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
    finally:  # whoever asked may stop asking: then nothing plays on behind their back
        left.set()
        thread.join()
