"""The judge `vqa`: each case is rolled out once, and the share of right answers is the accuracy.

The scorer of the case's answer type says what is right, whatever the rubric rewards. A case that
was not answered is wrong; it is never left out. Left out of the figures are a case whose reply the
server withheld, one whose images cannot be read, and one whose machinery failed for good: how many
these are is said beside them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import unreadable_of, withheld_of
from medgym.judge import Judgement
from medgym.policy import Policy, Sampling
from medgym.rollout import OnMessages, collect
from medgym.tally import by_stream
from medgym.trajectory import Trajectory

from .tally import VqaTally


@by_stream(VqaTally)
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
    tally = VqaTally(policy, ordered=True)
    for case, trajectory in zip(cases, trajectories, strict=True):
        tally.add(case, trajectory)
    return replace(tally.judgement(), trajectories=tuple(trajectories), cases=None, episodes=None)


def _is_left_out(failure: str) -> bool:
    """Whether an episode that failed so is left out of the figures, rather than ending them."""
    return withheld_of(failure) is not None or unreadable_of(failure) is not None
