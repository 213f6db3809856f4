"""The judge `vqa`: each case is rolled out once, and the share of right answers is the accuracy.

The scorer of the case's answer type says what is right, whatever the rubric rewards. A case that
was not answered is wrong; it is never left out. Left out of the figures are a case whose reply the
server withheld, one whose images cannot be read, and one whose machinery failed for good: how many
these are is said beside them.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import get_args

from medgym.cases import Case, normalised
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.failures import Withheld, unreadable_of, withheld_of
from medgym.judge import Judgement, RoleJudgement
from medgym.metrics.looking import hit
from medgym.metrics.rate import Rate
from medgym.policy import Policy, Sampling
from medgym.rollout import OnMessages, collect
from medgym.scorer import scorer_versions
from medgym.trajectory import Trajectory
from medgym.unreadable import UnreadableCases


def judge(
    policy: Policy,
    cases: Sequence[Case],
    rules: Rules,
    *,
    sampling: Sampling,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
    on_messages: OnMessages | None = None,
    trajectories: Sequence[Trajectory] | None = None,
) -> Judgement:
    """The share of right answers, and whether the policy looked where there is something to see.

    Arguments and errors are those of `medgym.judge.Judge`.
    """
    cases = list(cases)  # a lazy list makes each only once
    if trajectories is not None:
        return judgement(policy.spec, cases, trajectories)
    played: list[Trajectory] = []
    for trajectory in collect(
        cases, policy, rules, sampling=sampling, seed=seed, on_messages=on_messages, ordered=True
    ):
        if trajectory.failure is not None and not _is_left_out(trajectory.failure):
            raise RunError(
                f"the episode of {trajectory.case_id} failed ({trajectory.failure}), and a failed "
                "episode is not a wrong answer; fix: remove the cause and judge again"
            )
        played.append(trajectory)
        if on_progress is not None:
            on_progress(len(played))
    return judgement(policy.spec, cases, played)


def judgement(policy: str, cases: Sequence[Case], trajectories: Sequence[Trajectory]) -> Judgement:
    """The figures of trajectories.

    Args:
        policy: the policy's spec.
        cases: the cases that were judged.
        trajectories: a trajectory of each case, in the same order. The figures leave out those
            whose reply was withheld, whose images cannot be read, or whose machinery failed, and
            say how many these are.

    Raises:
        UserError: there is no case.
        RunError: the replies to all of them were withheld, or most of them cannot be read.
    """
    if not trajectories:
        raise UserError("there is no case to judge on; fix: widen the slice")
    rolled_out = tuple(trajectories)
    unreadable = UnreadableCases(len({each.case_id for each in rolled_out}))
    for each in rolled_out:
        unreadable.add(each)
    readable = [each for each in rolled_out if each.case_id not in unreadable.reasons]
    why = [withheld_of(each.failure) for each in readable]
    pairs = [pair for pair in zip(cases, rolled_out, strict=True) if pair[1].failure is None]
    if not pairs:
        raise RunError(
            f"no case has a reply ({readable[0].failure}), so that there is nothing to judge; "
            "fix: ask another model or server"
        )
    trajectories = [trajectory for _, trajectory in pairs]
    hits = [seen for case, t in pairs if (seen := hit(case, t)) is not None]
    rewards = [t.reward for t in trajectories if t.reward is not None]
    return Judgement(
        policy=policy,
        accuracy=Rate.of([t.correct for t in trajectories], groups_of(case for case, _ in pairs)),
        answered=fmean(t.answer is not None for t in trajectories),
        looked=fmean(bool(t.looks) for t in trajectories),
        hit=fmean(hits) if hits else None,
        by_answer=_by_answer(pairs),
        turns=fmean(t.turns for t in trajectories),
        calls=fmean(sum(len(part.calls) for _, part in t.parts()) for t in trajectories),
        tokens=fmean(t.tokens for t in trajectories),
        roles=_roles(trajectories),
        trajectories=rolled_out,
        reward=fmean(rewards) if rewards else None,
        scorers=scorer_versions(case for case, _ in pairs),
        unreadable=unreadable.reasons,
        accuracy_of_all=_of_all(cases, rolled_out, unreadable),
        failed={
            f"{each.case_id}#{each.member}": each.failure
            for each in rolled_out
            if each.failure is not None and not _is_left_out(each.failure)
        },
        withheld={
            name: Rate.of(each == name for each in why)
            for name in get_args(Withheld)
            if name in why
        },
    )


def _is_left_out(failure: str) -> bool:
    """Whether an episode that failed so is left out of the figures, rather than ending them."""
    return withheld_of(failure) is not None or unreadable_of(failure) is not None


def groups_of(cases: Iterable[Case]) -> list[tuple[str, str]]:
    """To whom each case belongs: cases of one group are not independent. One without a group is
    independent of all others."""
    return [(case.source, case.group or case.id) for case in cases]


def _of_all(
    cases: Sequence[Case], played: Sequence[Trajectory], unreadable: UnreadableCases
) -> Rate | None:
    """The accuracy in which an unreadable case is not right; None where all can be read."""
    if not unreadable.reasons:
        return None
    counted = [
        (case, trajectory)
        for case, trajectory in zip(cases, played, strict=True)
        if trajectory.failure is None or unreadable_of(trajectory.failure)
    ]
    return Rate.of([t.correct for _, t in counted], groups_of(case for case, _ in counted))


def _by_answer(pairs: Sequence[tuple[Case, Trajectory]]) -> dict[str, Rate]:
    """Accuracy for each gold answer; answers that the scorers take as the same are one.

    An answer is named as its first case spells it.
    """
    spelled: dict[str, str] = {}
    right: dict[str, list[tuple[Case, bool]]] = {}
    for case, trajectory in pairs:
        if case.answer_type in ("choice", "closed"):
            answer = spelled.setdefault(normalised(case.answer), case.answer)
            right.setdefault(answer, []).append((case, trajectory.correct))
    return {
        answer: Rate.of([each for _, each in right[answer]], groups_of(c for c, _ in right[answer]))
        for answer in sorted(right)
    }


def _roles(trajectories: Sequence[Trajectory]) -> dict[str, RoleJudgement]:
    """How each role did, in the order in which they usually act."""
    parts: dict[str, list[tuple[float, Trajectory]]] = {}
    places: dict[str, list[int]] = {}
    for trajectory in trajectories:
        for place, branch in enumerate(trajectory.branches):
            role = branch.role.partition("/")[0]  # votes of a majority are numbered
            parts.setdefault(role, []).append((branch.seconds, trajectory.part(branch)))
            places.setdefault(role, []).append(place)
    return {role: _role(parts[role]) for role in sorted(parts, key=lambda r: fmean(places[r]))}


def _role(parts: Sequence[tuple[float, Trajectory]]) -> RoleJudgement:
    whole = [(seconds, part) for seconds, part in parts if part.failure is None]

    def mean(values: Iterable[float]) -> float | None:
        return fmean(values) if whole else None

    return RoleJudgement(
        right=Rate.of(part.correct for _, part in whole),
        answered=mean(part.answer is not None for _, part in whole),
        failed=len(parts) - len(whole),
        turns=mean(part.turns for _, part in whole),
        calls=mean(len(part.calls) for _, part in whole),
        tokens=mean(part.tokens for _, part in whole),
        seconds=mean(seconds for seconds, _ in whole),
    )
