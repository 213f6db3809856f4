"""The next episode begins when one ends, whatever is done with those that have ended."""

import asyncio
from collections.abc import Iterator

import pytest

from medgym.cases import open_cases
from medgym.rollout.backend import Finished, Job
from medgym.rollout.in_flight import InFlight
from medgym.trajectory import failed_trajectory

CASE = open_cases("phantom:train[:1]")[0]


def jobs(count: int) -> Iterator[Job]:
    return (Job(CASE, member) for member in range(count))


class Playing:
    """Plays jobs at once, and says which have begun; those in `broken` raise."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.begun: list[int] = []
        self.broken = broken

    async def __call__(self, job: Job) -> Finished:
        self.begun.append(job.member)
        await asyncio.sleep(0)
        if job.member in self.broken:
            raise ValueError(f"job {job.member}")
        return Finished(
            failed_trajectory(CASE, policy="", seed=0, member=job.member, failure=""), {}
        )


async def idle(playing: Playing) -> None:
    """Let the loop go on until nothing more begins."""
    before = -1
    while before < len(playing.begun):
        before = len(playing.begun)
        for _ in range(5):
            await asyncio.sleep(0)


async def all_of(flying: InFlight, numbers: list[int] | None = None) -> None:
    """Take all that ends, and note its numbers."""
    while (found := await flying.taken(0.01)) is not None:
        if numbers is not None:
            numbers += [number for number, _ in found]


def test_others_begin_while_nobody_takes_what_has_ended() -> None:
    async def run() -> None:
        playing = Playing()
        flying = InFlight(jobs(20), playing, 3, lambda: True)
        assert await flying.taken(0.0) == []
        await idle(playing)
        assert playing.begun == list(range(6)), "as many as may play have ended and wait"
        found = await flying.taken(None)
        assert found is not None
        assert [number for number, _ in found] == list(range(6))
        while (more := await flying.taken(None)) is not None:
            found += more
        assert [(n, f.trajectory.member) for n, f in found] == [(n, n) for n in range(20)]

    asyncio.run(run())


def test_none_begins_without_room() -> None:
    async def run() -> None:
        playing, room = Playing(), [True]
        flying = InFlight(jobs(20), playing, 2, lambda: room[0])
        assert await flying.taken(0.0) == []
        room[0] = False
        await idle(playing)
        assert playing.begun == [0, 1]
        assert len(await flying.taken(None) or []) == 2
        assert await flying.taken(0.01) == [], "it waits for room"
        room[0] = True
        assert await flying.taken(None)
        await flying.cancel()
        begun = len(playing.begun)
        await idle(playing)
        assert len(playing.begun) == begun

    asyncio.run(run())


def test_what_ended_before_an_error_is_taken_first() -> None:
    async def run() -> None:
        playing = Playing(broken=(2,))
        flying = InFlight(jobs(20), playing, 4, lambda: True)
        found = await flying.taken(None) or []
        while len(found) < 3:
            found += await flying.taken(0.01) or []
        assert 2 not in {number for number, _ in found}
        with pytest.raises(ValueError, match="job 2"):
            await all_of(flying)
        assert len(playing.begun) < 20, "after an error none begins"
        await flying.cancel()

    asyncio.run(run())


def test_a_source_that_fails_is_told_to_whoever_waits() -> None:
    def failing() -> Iterator[Job]:
        yield from jobs(2)
        raise ValueError("no more cases")

    async def run() -> None:
        flying = InFlight(failing(), Playing(), 1, lambda: True)
        found: list[int] = []
        with pytest.raises(ValueError, match="no more cases"):
            await all_of(flying, found)
        assert found == [0, 1]

    asyncio.run(run())
