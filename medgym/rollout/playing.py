"""One attempt at one episode, as a coroutine.

Tools run in threads, off the event loop, so that one slow tool holds up no other episode;
everything that can fail is typed by its boundary, so that whoever collects can retry it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from medgym.cases import Case
from medgym.episode import Rules
from medgym.failures import at
from medgym.images import Study
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
    studies: Awaitable[Sequence[Study]] | Sequence[Study] | None = None,
    threads: Executor | None = None,
    on_messages: OnMessages | None = None,
) -> Trajectory:
    """Play one episode.

    Args:
        case: what is played. policy: who plays it. rules: tools, rubric, budgets.
        sampling: how replies are drawn; its seed is replaced by one for each turn.
        seed: the run's seed; with the case's id and `member` it fixes every draw.
        member: which of its group this episode is.
        studies: the case's images where they are decoded already, or are being decoded.
        threads: where tools run; by default the event loop's own threads.
        on_messages: receives the conversation when the episode is over.

    Raises:
        Failure: the machinery failed; what was played is lost and may be played again.
    """
    loop = asyncio.get_running_loop()
    drawn = seed_of(seed, case.id, "policy", member)
    player = policy.for_case(case) if policy.needs_gold else policy
    base = sampling or Sampling()
    policy.enter()
    try:
        if isinstance(studies, Awaitable):
            studies = await studies
        with at("environment"):
            episode = await loop.run_in_executor(threads, rules.begin, case, studies)
        while not episode.done:
            turn = replace(base, seed=seed_of(drawn, len(episode.turns)))
            with at("policy"):
                reply = await player.act(tuple(episode.messages), turn)
            episode.spend(len(reply.token_ids or ()))
            with at("tool"):
                await loop.run_in_executor(threads, episode.step, reply)
        if on_messages is not None:
            with at("store"):
                await loop.run_in_executor(threads, on_messages, tuple(episode.messages))
        with at("environment"):
            return record(
                case,
                episode,
                policy=policy.spec,
                version=player.version,
                seed=seed,
                member=member,
                kind=player.kind,
                vision_token_ids=player.vision_token_ids,
            )
    finally:
        policy.leave()
