"""`collect`: many episodes, streamed, retried, stored, resumed; nothing lost and nothing twice.

The run's store is the ledger. A part of trajectories is written whole, after the images that it
names, and what a part holds is done. So a collection that is killed at any moment and called again
plays what no part holds, and nothing else. A member's draws are fixed by the run's seed, its case
and its number, so the finished set is that of an undisturbed run, whoever played what and when.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.failures import Failure, reason_of
from medgym.policy import Policy, Sampling
from medgym.rollout.backend import Backend, Job, Played
from medgym.rollout.driving import drive
from medgym.rollout.local import LocalBackend
from medgym.rollout.playing import OnMessages
from medgym.runs import RunFolder
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory, failed_trajectory

RETRIES = 3
"""Attempts after the first one, each from a fresh environment."""

BACK_OFF = 0.5
"""Seconds before the first retry; doubled at each further one, with a jitter fixed by the seed."""

FLUSH_COUNT, FLUSH_SECONDS = 256, 5.0
"""A part is written when it holds so many trajectories or its first one is so old."""

STORE_PATIENCE = 600.0
"""Seconds for which a store that cannot be written (a full disk) is tried again."""


@dataclass
class Tally:
    """What went wrong in a collection.

    Attributes:
        failures: failed attempts by boundary.
        failed: episodes given up, by `case_id#member`, and why.
    """

    failures: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)


def collect(
    cases: Sequence[Case],
    policy: Policy,
    rules: Rules,
    *,
    group_size: int = 1,
    sampling: Sampling | None = None,
    seed: int = 0,
    concurrency: int = 64,
    out: RunFolder | None = None,
    on_messages: OnMessages | None = None,
    ordered: bool = False,
    on_failure: Callable[[Tally], None] | None = None,
) -> Iterator[Trajectory]:
    """Play every case `group_size` times and stream the trajectories as they finish.

    Args:
        cases: what is played, lazily. policy: who plays. rules: tools, rubric, budgets.
        group_size: episodes of each case; the members differ in their draws and share its images.
        sampling: temperature, top-p and token limit of a reply.
        seed: the run's seed; the same seed plays the same episodes again.
        concurrency: episodes in flight at once.
        out: where trajectories and images are stored; what it holds already is not played again.
        on_messages: receives each finished conversation.
        ordered: stream in the order of the cases and members instead; episodes play on meanwhile.
        on_failure: receives the tally at each failure.

    An episode that fails for good is streamed too, with its `failure` and no reward, and is named
    in the run's manifest; it is not stored, so that calling again tries it again.
    """
    if concurrency < 1 or group_size < 1:
        raise UserError("concurrency and group_size are 1 or more; mend: raise them")

    def make() -> Backend:
        return LocalBackend(
            policy,
            rules,
            sampling=sampling,
            seed=seed,
            concurrency=concurrency,
            stored=out.images.has if out is not None else None,
            on_messages=on_messages,
        )

    return drive(
        play(
            cases,
            make,
            policy=policy.spec,
            group_size=group_size,
            seed=seed,
            concurrency=concurrency,
            out=out,
            ordered=ordered,
            on_failure=on_failure,
        )
    )


async def play(
    cases: Sequence[Case],
    make: Callable[[], Backend],
    *,
    policy: str,
    group_size: int,
    seed: int,
    concurrency: int,
    out: RunFolder | None = None,
    ordered: bool = False,
    on_failure: Callable[[Tally], None] | None = None,
) -> AsyncGenerator[Trajectory, None]:
    """`collect` over any back end, for a caller that has an event loop of its own."""
    done = {(t.case_id, t.member) for t in out.trajectories} if out is not None else set()
    jobs = enumerate(
        job
        for case in cases
        for job in (Job(case, member) for member in range(group_size))
        if job.key not in done
    )
    keeper = _Keeper(out)
    tally = Tally()
    backend = make()
    running: dict[asyncio.Task[Played], int] = {}
    held: dict[int, Trajectory] = {}
    next_one = 0

    def failed(failure: Failure) -> None:
        tally.failures[failure.boundary] += 1
        if on_failure is not None:
            on_failure(tally)

    try:
        exhausted = False
        while True:
            while not exhausted and len(running) < concurrency:
                numbered = next(jobs, None)
                exhausted = numbered is None
                if numbered is not None:
                    settling = _settle(numbered[1], backend, policy, seed, failed)
                    running[asyncio.create_task(settling)] = numbered[0]
            if not running:
                break
            finished, _ = await asyncio.wait(
                running, timeout=keeper.patience(), return_when=asyncio.FIRST_COMPLETED
            )
            for task in finished:
                played = task.result()
                held[running.pop(task)] = played.trajectory
                if played.trajectory.failure is not None:
                    key = f"{played.trajectory.case_id}#{played.trajectory.member}"
                    tally.failed[key] = played.trajectory.failure
                else:
                    await keeper.add(played, failed)
            await keeper.flush(failed, at_once=False)
            while held and (not ordered or next_one in held):
                yield held.pop(next_one if ordered else next(iter(held)))
                next_one += 1
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await backend.close()
        await keeper.flush(failed, at_once=True)
        if out is not None:
            out.note(failures=dict(tally.failures), failed=tally.failed)


async def _settle(
    job: Job, backend: Backend, policy: str, seed: int, failed: Callable[[Failure], None]
) -> Played:
    """Attempt a job until it succeeds or its retries are used up."""
    for attempt in range(RETRIES + 1):
        try:
            return await backend.attempt(job)
        except Failure as failure:
            failed(failure)
            last = failure
            if failure.final:
                break
        if attempt < RETRIES:
            jitter = seed_of(seed, *job.key, attempt) / 2**63
            await asyncio.sleep(BACK_OFF * 2**attempt * (0.5 + jitter))
    return Played(
        failed_trajectory(job.case, policy=policy, seed=seed, member=job.member, failure=str(last))
    )


class _Keeper:
    """Writes finished episodes into the run's folder: first images, then the part that names them.

    A folder that cannot be written is tried again for a while; meanwhile nothing new is handed out,
    so that memory does not fill with what cannot be stored.
    """

    def __init__(self, out: RunFolder | None) -> None:
        self._out = out
        self._waiting: list[Trajectory] = []
        self._since = 0.0

    def patience(self) -> float | None:
        """Seconds until the waiting part is due; None where nothing waits."""
        if self._out is None or not self._waiting:
            return None
        return max(0.0, self._since + FLUSH_SECONDS - time.monotonic())

    async def add(self, played: Played, failed: Callable[[Failure], None]) -> None:
        """Take a finished episode."""
        if self._out is None:
            return
        out = self._out
        for sha256, png in played.images.items():
            await _persist(lambda s=sha256, p=png: out.images.put_png(s, p), failed)  # type: ignore[misc]
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(played.trajectory)

    async def flush(self, failed: Callable[[Failure], None], *, at_once: bool) -> None:
        """Write what waits, if it is due (or `at_once`)."""
        if self._out is None or not self._waiting:
            return
        due = len(self._waiting) >= FLUSH_COUNT or self.patience() == 0.0
        if due or at_once:
            out, part, self._waiting = self._out, self._waiting, []
            await _persist(lambda: out.trajectories.write(part), failed)


async def _persist(write: Callable[[], object], failed: Callable[[Failure], None]) -> None:
    """Write, and where the store refuses try again with growing pauses."""
    start, pause = time.monotonic(), BACK_OFF
    while True:
        try:
            await asyncio.to_thread(write)
            return
        except OSError as error:
            failed(Failure("store", reason_of(error)))
            if time.monotonic() - start > STORE_PATIENCE:
                raise RunError(
                    f"the run's folder cannot be written ({error.strerror}); mend: make room, then "
                    "run the same command again: it goes on from what is stored"
                ) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 10.0)
