"""The episodes of a collection that play: where one ends, the next one begins at once.

It begins whatever the collection does meanwhile with those that have ended: a policy waits neither
for a disk nor for a judge.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator

from medgym.rollout.backend import Finished, Job


class InFlight:
    """Episodes in flight.

    Args:
        jobs: what is played, in this order.
        play: plays one.
        most: episodes that play at once. As many more may have ended and wait to be taken.
        has_room: whether further episodes may begin.
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        play: Callable[[Job], Coroutine[object, object, Finished]],
        most: int,
        has_room: Callable[[], bool],
    ) -> None:
        self._jobs = enumerate(jobs)
        self._play = play
        self._most = most
        self._has_room = has_room
        self._running: dict[asyncio.Task[Finished], int] = {}
        self._ended: asyncio.Queue[asyncio.Task[Finished] | None] = asyncio.Queue()
        self._playing = 0
        self._more = True
        self._error: BaseException | None = None

    async def taken(self, patience: float | None) -> list[tuple[int, Finished]] | None:
        """What has ended, at least one unless `patience` (seconds) ends; None once all is taken.

        Each comes with the number of its job.

        Raises:
            BaseException: what a job raised that ended no episode. What ended before it was taken.
        """
        self._begin()
        if self._error is not None:
            raise self._error
        if not self._running and not self._more:
            return None
        try:
            async with asyncio.timeout(patience):
                first = await self._ended.get()
        except TimeoutError:
            return []
        found = []
        for task in (first, *(self._ended.get_nowait() for _ in range(self._ended.qsize()))):
            if task is None:
                continue
            number, error = self._running.pop(task), _error_of(task)
            if error is None:
                found.append((number, task.result()))
            else:
                self._error = self._error or error
        return found

    async def cancel(self) -> None:
        """Cancel what plays, and begin nothing more."""
        self._more = False
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self) -> None:
        """Begin as many episodes as may play at once."""
        while self._more and self._playing < self._most and self._has_room():
            if len(self._running) >= 2 * self._most:
                return
            try:
                numbered = next(self._jobs, None)
            except Exception as error:  # a source that cannot make its next case
                self._more, self._error = False, error
                self._ended.put_nowait(None)  # `taken`, which waits, raises it
                return
            if numbered is None:
                self._more = False
                return
            task = asyncio.create_task(self._play(numbered[1]))
            task.add_done_callback(self._end)
            self._running[task] = numbered[0]
            self._playing += 1

    def _end(self, task: asyncio.Task[Finished]) -> None:
        self._playing -= 1
        self._ended.put_nowait(task)
        if _error_of(task) is not None:
            self._more = False
        self._begin()


def _error_of(task: asyncio.Task[Finished]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
