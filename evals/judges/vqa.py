"""The suite `vqa`: every case is played once, and the share of right answers is the judgement.

What counts as right is `Answer.matches` and nothing else, whatever the rubric rewards. A case that
was not answered is wrong, never left out.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.judge import Judgement, RoleJudgement
from medgym.metrics.looking import hit
from medgym.metrics.rate import Rate
from medgym.policy import Policy, Sampling
from medgym.rollout import OnMessages, collect
from medgym.trajectory import Trajectory


def judge(
    policy: Policy,
    cases: Sequence[Case],
    rules: Rules,
    *,
    sampling: Sampling,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
    on_messages: OnMessages | None = None,
) -> Judgement:
    """Play every case once and judge.

    Args:
        policy: who plays. cases: what is played. rules: tools, rubric, budgets.
        sampling: how replies are drawn; temperature 0 is greedy.
        seed: the same seed plays the same episodes again.
        on_progress: receives the number of cases done.
        on_messages: receives each finished conversation, as a store of its images does.

    Raises:
        UserError: there is no case.
        RunError: the machinery failed on a case for good.
    """
    played: list[Trajectory] = []
    for trajectory in collect(
        cases, policy, rules, sampling=sampling, seed=seed, on_messages=on_messages, ordered=True
    ):
        if trajectory.failure is not None:
            raise RunError(
                f"{trajectory.case_id} could not be played ({trajectory.failure}), and a case that "
                "was not played is not wrong; fix: remove the cause and judge again"
            )
        played.append(trajectory)
        if on_progress is not None:
            on_progress(len(played))
    return judgement(policy.spec, cases, played)


def judgement(policy: str, cases: Sequence[Case], played: Sequence[Trajectory]) -> Judgement:
    """What trajectories say of a policy; `played` has one for each of `cases`, in their order."""
    if not played:
        raise UserError("there is no case to judge on; fix: widen the slice")
    pairs = list(zip(cases, played, strict=True))
    hits = [seen for case, t in pairs if (seen := hit(case, t)) is not None]
    answers: dict[str, list[bool]] = {}
    for case, trajectory in pairs:
        if case.answer_type in ("choice", "closed"):
            answers.setdefault(case.answer, []).append(trajectory.correct)
    return Judgement(
        policy=policy,
        accuracy=Rate.of(t.correct for t in played),
        answered=fmean(t.answer is not None for t in played),
        looked=fmean(bool(t.looks) for t in played),
        hit=fmean(hits) if hits else None,
        by_answer={answer: Rate.of(answers[answer]) for answer in sorted(answers)},
        turns=fmean(t.turns for t in played),
        calls=fmean(sum(len(part.calls) for _, part in t.parts()) for t in played),
        tokens=fmean(t.tokens for t in played),
        roles=_roles(played),
        trajectories=tuple(played),
    )


def _roles(played: Sequence[Trajectory]) -> dict[str, RoleJudgement]:
    """How each role did, in the order in which they mostly play."""
    parts: dict[str, list[tuple[float, Trajectory]]] = {}
    places: dict[str, list[int]] = {}
    for trajectory in played:
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
