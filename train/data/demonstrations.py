"""What the cold start imitates: episodes of an oracle, a teacher, a stored run, or the base.

Every episode follows the recipe's rules and is held in the tokens of the model that learns: a
teacher's words are rendered and tokenised as if that model had written them, with the views that it
would have been shown. All of them stay in the run's `trajectories/`; those that are not learned
from are listed in `selection.jsonl`. A resumed run rolls out only what is missing.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure, unreadable_of
from medgym.local_model import LocalModel
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy, load_policy
from medgym.progress import progress
from medgym.rollout import roll_out
from medgym.rollout.record import held_episodes
from medgym.rollout.sync import drive
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..recipe.schema import DemonstrationsTable
from ..run.processes import is_first
from ..run.sharing import all_read, collect_shared
from .records import UNREADABLE, Record, Records

SELF = "self"
"""The base itself, in `[demonstrations] policy`: its own samples are imitated."""

PART = 256
"""Replayed episodes that are written together."""


def demonstrations(
    table: DemonstrationsTable,
    cases: Sequence[Case],
    student: LocalModel,
    rules: Rules,
    sampling: Sampling,
    run: RunFolder,
    records: Records,
    *,
    seed: int,
) -> list[Trajectory]:
    """Play what is not in the run's folder yet; returns those that are to be learned from.

    Of several processes each plays its share, and all return the same. A stored run is played again
    by the first one.

    Args:
        table: whose episodes, how many, which are kept.
        cases: those of the table.
        student: the policy of the model that learns (`hf:`), which renders for it.
        rules, sampling: as the model itself will play.
        run: where they and their images are stored. records: where the others are named.

    Raises:
        UserError: no such policy or run, or nothing is left to learn from.
    """
    failed: list[Trajectory] = []
    with progress("demonstrations", len(cases) * table.samples) as advance:
        for trajectory in _played(table, cases, student, rules, sampling, run, seed):
            advance(1)
            if trajectory.failure is not None:
                failed.append(trajectory)
    place = {case.id: number for number, case in enumerate(cases)}
    shown = sorted(run.trajectories, key=lambda each: (place[each.case_id], each.member))
    kept, left_out = [], [_row(each, _lost(each)) for each in failed]
    for each in shown:
        why = _fault(each, table.keep)
        if why is None:
            kept.append(each)
        else:
            left_out.append(_row(each, why))
    if is_first():
        records.forget("demonstrations")
        records.add("demonstrations", left_out)
    if not kept:
        raise UserError(
            f"none of {len(shown) + len(failed)} demonstrations is kept "
            f"({left_out[0]['why'] if left_out else 'there are none'}); fix: choose another "
            "policy, more samples, or another [demonstrations] keep"
        )
    return kept


def _played(
    table: DemonstrationsTable,
    cases: Sequence[Case],
    student: LocalModel,
    rules: Rules,
    sampling: Sampling,
    run: RunFolder,
    seed: int,
) -> Iterator[Trajectory]:
    if table.run is not None:
        if is_first():
            yield from drive(_replayed(RunFolder.open(table.run), cases, student, rules, run, seed))
        all_read(run)
        return
    assert table.policy is not None
    policy: Policy = student
    teacher = None if table.policy == SELF else load_policy(table.policy, by_recipe=True)
    try:
        if teacher is not None:
            asyncio.run(teacher.check())
            policy = student.imitating(Plain(teacher))
        yield from collect_shared(
            cases,
            policy,
            rules,
            group_size=table.samples,
            sampling=sampling,
            seed=seed,
            out=run,
        )
    finally:
        if teacher is not None:
            teacher.close()


def _fault(trajectory: Trajectory, keep: str | float) -> str | None:
    """Why an episode is not learned from, None where it is."""
    if keep == "all":
        return None
    if keep == "right":
        return None if trajectory.correct else f"wrong: {trajectory.answer}"
    least = float(keep)
    earned = trajectory.reward or 0.0
    return None if earned >= least else f"earned {earned:g}, less than {least:g}"


def _lost(trajectory: Trajectory) -> str:
    """Why there is no episode to learn from."""
    reason = unreadable_of(trajectory.failure)
    return f"failed: {trajectory.failure}" if reason is None else f"{UNREADABLE}{reason}"


def _row(trajectory: Trajectory, why: str) -> Record:
    return {"case": trajectory.case_id, "member": trajectory.member, "why": why}


class Plain(WrappedPolicy):
    """A teacher that is shown words and images alone.

    The conversation that is imitated holds the student's tokens, which mean nothing to a teacher
    with tokens of its own.
    """

    kind = "text"
    vision_token_ids = ()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The teacher's next reply."""
        bare = [replace(each, reply=None) for each in conversation]
        return await self.policy.act(bare, sampling)


class Spoken(Policy):
    """Says again what was said in a stored episode."""

    def __init__(self, spec: str, replies: Sequence[str]) -> None:
        self.spec = spec
        self._replies = replies

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The stored reply of this turn."""
        turn = sum(each.role == "assistant" for each in conversation)
        if turn >= len(self._replies):
            reason = f"the stored episode ends after {turn} replies, by these rules it goes on"
            raise Failure("policy", reason, final=True)
        return Reply(self._replies[turn])


async def _replayed(
    source: RunFolder,
    cases: Sequence[Case],
    student: LocalModel,
    rules: Rules,
    run: RunFolder,
    seed: int,
) -> AsyncGenerator[Trajectory, None]:
    """Play a run's stored episodes of these cases again, in the student's tokens."""
    known = {case.id: case for case in cases}
    done = held_episodes(run, cases, rules)
    waiting: list[Trajectory] = []
    for told in source.trajectories:
        if told.case_id not in known or (told.case_id, told.member) in done or told.branches:
            continue
        said = [node.text for node in told.nodes if node.role == "assistant"]
        case = known[told.case_id]
        try:
            played = await roll_out(
                case,
                student.imitating(Spoken(told.policy, said)),
                rules,
                seed=seed,
                member=told.member,
                on_messages=run.keep_images,
            )
        except Failure as failure:
            yield replace(told, nodes=(), reward=None, failure=str(failure))
            continue
        waiting.append(played)
        if len(waiting) == PART:
            run.trajectories.write(waiting)
            waiting = []
        yield played
    run.trajectories.write(waiting)
