"""Rollouts in this process: every episode is a coroutine and goes on at its own pace.

A policy that answers many conversations at once batches whatever waits for it, so there is no
barrier between turns. Episodes start in the order of the cases and, with policies whose replies
depend on their seed alone, a re-run plays the same episodes again.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace

from medgym.cases import Case
from medgym.episode import Rules
from medgym.images import Study, open_image
from medgym.messages import Message
from medgym.policy import Policy, Sampling
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory, record

OnMessages = Callable[[Sequence[Message]], None]
"""What is called with a finished episode's messages, as a store of their images is."""


async def rollout(
    case: Case,
    policy: Policy,
    rules: Rules,
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    member: int = 0,
    studies: Sequence[Study] | None = None,
    on_messages: OnMessages | None = None,
) -> Trajectory:
    """Play one episode.

    Args:
        case: what is played. policy: who plays it. rules: tools, rubric, budgets.
        sampling: how replies are drawn; its seed is replaced by one for each turn.
        seed: the run's seed; with the case's id and `member` it fixes every draw.
        member: which of its group this episode is.
        studies: the case's images where they are decoded already.
        on_messages: receives the conversation when the episode is over.
    """
    drawn = seed_of(seed, case.id, "policy", member)
    player = policy.for_case(case)
    episode = rules.begin(case, studies)
    base = sampling or Sampling()
    while not episode.done:
        turn = replace(base, seed=seed_of(drawn, len(episode.turns)))
        reply = await player.act(tuple(episode.messages), turn)
        episode.spend(len(reply.token_ids or ()))
        episode.step(reply)
    if on_messages is not None:
        on_messages(episode.messages)
    return record(
        case,
        episode,
        policy=policy.spec,
        seed=seed,
        member=member,
        kind=player.kind,
        vision_token_ids=player.vision_token_ids,
    )


async def play(
    cases: Sequence[Case],
    policy: Policy,
    rules: Rules,
    *,
    group_size: int = 1,
    sampling: Sampling | None = None,
    seed: int = 0,
    concurrency: int = 64,
    on_messages: OnMessages | None = None,
) -> AsyncGenerator[Trajectory, None]:
    """`collect` for a caller that has an event loop: trajectories in the order of the cases."""
    jobs = ((case, member) for case in cases for member in range(group_size))
    decoded: dict[str, list[Study]] = {}
    running: list[asyncio.Task[Trajectory]] = []

    def start() -> bool:
        job = next(jobs, None)
        if job is None:
            return False
        case, member = job
        if member == 0:
            decoded[case.id] = [open_image(ref) for ref in case.images]
        studies = decoded[case.id] if member < group_size - 1 else decoded.pop(case.id)
        coroutine = rollout(
            case,
            policy,
            rules,
            sampling=sampling,
            seed=seed,
            member=member,
            studies=studies,
            on_messages=on_messages,
        )
        running.append(asyncio.create_task(coroutine))
        return True

    try:
        while len(running) < concurrency and start():
            pass
        while running:
            trajectory = await running[0]
            running.pop(0)
            start()
            yield trajectory
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def collect(
    cases: Sequence[Case],
    policy: Policy,
    rules: Rules,
    *,
    group_size: int = 1,
    sampling: Sampling | None = None,
    seed: int = 0,
    concurrency: int = 64,
    on_messages: OnMessages | None = None,
) -> Iterator[Trajectory]:
    """Play every case `group_size` times and stream the trajectories, in the order of the cases.

    Args:
        cases: what is played, lazily. policy: who plays. rules: tools, rubric, budgets.
        group_size: episodes of each case; the members differ in their draws and share its images.
        sampling: temperature, top-p and token limit of a reply.
        seed: the run's seed; the same seed plays the same episodes again.
        concurrency: episodes in flight at once.
        on_messages: receives each finished conversation, as a store of images does.
    """
    stream = play(
        cases,
        policy,
        rules,
        group_size=group_size,
        sampling=sampling,
        seed=seed,
        concurrency=concurrency,
        on_messages=on_messages,
    )
    return _drive_anywhere(stream)


def _drive_anywhere(stream: AsyncGenerator[Trajectory, None]) -> Iterator[Trajectory]:
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
