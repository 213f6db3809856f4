"""`collect`: many episodes, streamed, retried, stored, resumed; none is lost and none comes twice.

The run's store records what is done. A part of trajectories is written whole, after the images that
it names. A collection that is killed at any moment and called again rolls out what no part holds,
and nothing else. A member's sampling is fixed by the run's seed, its case and its number, so the
finished set is that of a run that was never interrupted.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from medgym.cases import Case, CaseList, open_cases
from medgym.episode import Rules
from medgym.errors import UserError, unknown
from medgym.failures import Failure, unreadable_of
from medgym.imaging.opened import UnreadableImage
from medgym.memory import image_memory
from medgym.policy import Policy, Sampling
from medgym.privacy.names import without_names
from medgym.rollout.backend import Backend, Finished, Job
from medgym.rollout.branching import Resume, ResumeFrom, branched, described
from medgym.rollout.episode_loop import OnMessages
from medgym.rollout.in_flight import InFlight
from medgym.rollout.keeper import Keeper
from medgym.rollout.local import LocalBackend
from medgym.rollout.record import HeldEpisodes, held_episodes
from medgym.rollout.request import policy_of, request_of, rules_of
from medgym.rollout.sync import drive_each
from medgym.seeds import seed_of
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory, failed_trajectory
from medgym.unreadable import as_figures, watched

BackendName = Literal["local", "ray"]

RETRIES = 3
"""Attempts after the first one that failed, each from a fresh environment."""

LOSSES = 10
"""Workers that an episode may lose under it; it need not be the one that killed them."""

BACK_OFF, LONGEST_BACK_OFF = 0.5, 10.0
"""Seconds before the first retry, doubled at each further one up to the longest, with a jitter
fixed by the seed."""


@dataclass
class Tally:
    """What went wrong in a collection.

    Attributes:
        failures: failed attempts by boundary; replies that a server withheld by why.
        failed: episodes given up, by `case_id#member`, and why.
        unreadable: the cases whose images cannot be read, and why. Their episodes are not `failed`.
    """

    failures: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def collect(
    cases: str | Sequence[Case],
    policy: str | Policy,
    rules: Rules | None = None,
    *,
    group_size: int = 1,
    resume_from: ResumeFrom | None = None,
    members: int | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    backend: BackendName = "local",
    workers: int = 2,
    ray_address: str | None = None,
    concurrency: int = 64,
    out: RunFolder | str | Path | None = None,
    on_messages: OnMessages | None = None,
    ordered: bool = False,
    on_failure: Callable[[Tally], None] | None = None,
) -> Iterator[Trajectory]:
    """Roll out every case `group_size` times and stream the trajectories as they finish.

        for trajectory in medgym.collect("phantom:test[:100]", "scripted:random", out="runs/x"):
            print(trajectory.reward)

    Trajectories come in the order in which they finish, which need not be that of the cases;
    `ordered=True` streams them in the order of the cases and their members.

    Args:
        cases: what is rolled out, lazily: a spec such as `"phantom:train[:100]"`, or cases.
        policy: who acts: a spec such as `"hf:PATH"`, which is loaded, checked and closed here, or
            a `Policy`, which stays open.
        rules: tools, rubric, budgets; by default `Rules.for_cases(cases)`.
        group_size: episodes of each case; the members differ in their sampling and share its
            images.
        resume_from: `(trajectory, turn)`, or several such pairs, each of another one of the
            `cases`, of which then no others are played. The episode is replayed up to what the
            environment replied to the policy's reply number `turn`, counted from 1 (with 0 only
            its question), and played on `members` times by the policy. Every trajectory is whole
            and says in its `fork` where it was branched off.
        members: how many branches of each of `resume_from`; by default `group_size`.
        sampling: temperature, top-p and token limit of a reply.
        seed: the run's seed; the same seed gives the same episodes again.
        backend: `local` (this process) or `ray`.
        workers: processes on Ray.
        ray_address: of a running cluster, or `auto` to find one; by default one is started here.
        concurrency: episodes in flight at once, over all workers; `Policy.at_most` may open more.
        out: where trajectories and images are stored; what it holds is not rolled out again. A
            path creates a run's folder or resumes an interrupted run of the same request, and
            completes it when all episodes are done. A `RunFolder` is left for its owner to finish.
        on_messages: receives each finished conversation (`local` only).
        ordered: stream in the order of the cases and members.
        on_failure: receives the tally at each failure.

    The iterator must be consumed or closed: a policy that was loaded here is closed then.

    An episode that fails for good is streamed too, with its `failure` and no reward, and is named
    in the run's manifest. It is not stored, so calling again tries it again. So it is with the
    episodes of a case whose images cannot be read, but such a case is counted once, and the run is
    complete without it (`medgym.failures.unreadable_of` tells it by the failure).

    Raises:
        UserError: an argument of the wrong kind, unknown names, a policy that cannot act, or a
            folder that holds another run.
        RunError: the images of most cases cannot be read.
    """
    if backend not in ("local", "ray"):
        raise unknown("back end", backend, ("local", "ray"))
    if backend == "local" and ray_address is not None:
        raise UserError("ray_address needs the back end ray; fix: backend='ray', or omit it")
    if backend == "ray" and on_messages is not None:
        raise UserError("on_messages needs the back end local; fix: read the images from `out`")
    if concurrency < 1 or group_size < 1 or workers < 1:
        raise UserError("concurrency, group_size and workers are 1 or more; fix: raise them")
    if members is not None and (resume_from is None or group_size > 1 or members < 1):
        raise UserError(
            "members are the branches of each episode in resume_from, 1 or more; fix: give both, "
            "without group_size, or only group_size"
        )
    image_memory()  # what the environment declares is checked before any work
    drawing: object = sampling
    if not isinstance(drawing, Sampling | None):
        raise UserError(
            f"the sampling is a {type(drawing).__name__}; fix: give medgym.Sampling(temperature=0)"
        )
    opened = open_cases(cases)
    rules = rules_of(rules, opened)
    acting = policy_of(policy, backend)
    loaded = acting if acting is not policy else None
    folder = out if isinstance(out, RunFolder) else None
    resumes: dict[str, Resume] = {}
    played: Sequence[Case] = opened
    try:
        if resume_from is not None:
            found = branched(resume_from, opened, acting, rules)
            played, resumes = [case for case, _ in found], {case.id: at for case, at in found}
            group_size = members or group_size
        if out is not None and not isinstance(out, RunFolder):
            asked = request_of(
                cases, acting, rules, sampling=sampling, group_size=group_size, seed=seed
            )
            asked |= described(list(resumes.values())) if resumes else {}
            folder = RunFolder.create_or_resume(out, asked, seeds={"run": seed})
    except BaseException:
        if loaded is not None:
            loaded.close()
        raise

    def make() -> Backend:
        common: dict[str, Any] = {
            "sampling": sampling,
            "seed": seed,
            "concurrency": concurrency,
            "stored": folder.images.has if folder is not None else None,
        }
        if backend == "local":
            return LocalBackend(acting, rules, on_messages=on_messages, **common)
        from medgym.rollout.ray.backend import RayBackend

        return RayBackend(acting, rules, workers=workers, address=ray_address, **common)

    stream = drive_each(
        play(
            played,
            make,
            policy=acting.spec,
            group_size=group_size,
            resumes=resumes,
            seed=seed,
            concurrency=acting.at_most(concurrency) if backend == "local" else concurrency,
            out=folder,
            rules=rules,
            ordered=ordered,
            on_failure=on_failure,
        )
    )
    stream = watched(stream, len(played))
    owned = _owned(stream, policy=loaded, folder=folder if folder is not out else None)
    next(owned)  # only a generator that has begun closes the policy when it is closed
    return cast("Iterator[Trajectory]", owned)


def _owned(
    stream: Iterator[Trajectory], *, policy: Policy | None, folder: RunFolder | None
) -> Iterator[Trajectory | None]:
    """None, then the stream; at its end the policy and the folder that `collect` opened itself are
    closed."""
    try:
        yield None
        yield from stream
        if folder is not None and not folder.manifest["failed"]:
            folder.finish()
    finally:
        if policy is not None:
            policy.close()


async def play(
    cases: Sequence[Case],
    make: Callable[[], Backend],
    *,
    policy: str,
    group_size: int,
    resumes: Mapping[str, Resume] = MappingProxyType({}),
    seed: int,
    concurrency: int,
    out: RunFolder | None = None,
    rules: Rules | None = None,
    ordered: bool = False,
    on_failure: Callable[[Tally], None] | None = None,
) -> AsyncGenerator[list[Trajectory], None]:
    """`collect` for a caller with an event loop; what finishes at the same time comes together.

    `resumes` says, by case id, from where on a case is played. By `rules` it is known whether the
    images of a run that is resumed are those of before; without them that is not asked.
    """
    stored = HeldEpisodes()
    if out is not None:
        out.claim()
        stored = held_episodes(out, cases, rules)
    jobs = (
        job
        for case in _unfinished(cases, group_size, stored)
        for job in (Job(case, member, resumes.get(case.id)) for member in range(group_size))
        if job.key not in stored
    )
    tally = Tally()
    backend = make()
    held: dict[int, Trajectory] = {}
    next_one = 0

    def failed(failure: Failure) -> None:
        tally.failures[failure.counted_as] += 1
        if on_failure is not None:
            on_failure(tally)

    keeper = Keeper(out, failed)
    ended = False

    def settled(job: Job) -> Coroutine[object, object, Finished]:
        return _settle(job, backend, policy, seed, failed)

    flying = InFlight(jobs, settled, concurrency, lambda: keeper.has_room)
    try:
        while (taken := await flying.taken(keeper.due_in())) is not None:
            fresh: list[Finished] = []
            for number, played in taken:
                held[number] = played.trajectory
                case_id, failure = played.trajectory.case_id, played.trajectory.failure
                if failure is None:
                    fresh.append(played)
                elif reason := unreadable_of(failure):
                    tally.unreadable[case_id] = reason
                else:
                    tally.failed[f"{case_id}#{played.trajectory.member}"] = failure
            keeper.add(fresh)
            await keeper.flush()
            ready: list[Trajectory] = []
            while held and (not ordered or next_one in held):
                ready.append(held.pop(next_one if ordered else next(iter(held))))
                next_one += 1
            yield ready
        ended = True
    finally:
        await flying.cancel()

        def note() -> None:
            drifts = {} if backend.drifts is None else {"drifts": backend.drifts}
            if out is not None:
                unreadable = as_figures(tally.unreadable, len(cases))
                out.note(
                    failures=dict(tally.failures),
                    failed=tally.failed,
                    unreadable=unreadable,
                    **drifts,
                )

        try:  # first what is finished: a back end may be slow to close, and an interrupt is not
            await keeper.end(patient=ended)
        except BaseException:
            ended = False
            raise
        finally:
            await backend.close()
            await keeper.end(note, patient=ended)


def _unfinished(cases: Sequence[Case], group_size: int, done: HeldEpisodes) -> Iterator[Case]:
    """The cases of which not all episodes are done; where keys are known, no others are made."""
    if not done or not isinstance(cases, CaseList):
        yield from cases
        return
    for place, key in enumerate(cases.case_keys()):
        if any((key.id, member) not in done for member in range(group_size)):
            yield cases[place]


async def settle(
    jobs: Sequence[Job], backend: Backend, *, policy: str, seed: int, tally: Tally
) -> AsyncGenerator[Finished, None]:
    """Play jobs, all at once, with the retries of `collect`; in their order, and nothing is stored.

    For a caller that keeps what is played itself, as training does. Closes the back end.
    """

    def failed(failure: Failure) -> None:
        tally.failures[failure.counted_as] += 1

    running = [asyncio.create_task(_settle(job, backend, policy, seed, failed)) for job in jobs]
    try:
        for task in running:
            yield await task
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await backend.close()


async def _settle(
    job: Job, backend: Backend, policy: str, seed: int, failed: Callable[[Failure], None]
) -> Finished:
    """Attempt a job until it succeeds or its retries are used up."""
    lost = 0
    for attempt in itertools.count():
        try:
            async with backend.image_memory.room(job.case):
                return await backend.attempt(job)
        except UnreadableImage as error:  # one that a tool asked for
            last = Failure("image", without_names(str(error), job.case.images), final=True)
            failed(last)
        except Failure as failure:
            failed(failure)
            # A copy has no traceback, which would hold the episode's images until the next attempt.
            last = copy(failure)
        lost += last.boundary == "worker"
        if last.final or lost > LOSSES or attempt - lost >= RETRIES:
            break
        jitter = seed_of(seed, *job.key, attempt) / 2**63
        pause = min(BACK_OFF * 2**attempt, LONGEST_BACK_OFF)
        await asyncio.sleep(pause * (0.5 + jitter))
    return Finished(
        failed_trajectory(job.case, policy=policy, seed=seed, member=job.member, failure=str(last))
    )
