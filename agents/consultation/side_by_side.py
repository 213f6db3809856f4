"""Episodes of one case that are played side by side."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(plays: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """The results, in the order given. When one fails, the others end before its error is raised:
    a retry would play them a second time beside themselves."""
    tasks = [asyncio.ensure_future(play) for play in plays]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
