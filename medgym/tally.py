"""Judging by the stream: each episode is taken as it ends, counted, and forgotten.

A judge that can do so says how by `by_stream`. `medgym eval` then holds no episodes, so that its
memory does not grow with the cases. Of any other judge all episodes are held until the last one has
ended; then the judge is called with them.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from medgym.cases import Case, CaseList
from medgym.episode import Rules
from medgym.failures import ContractError, calling
from medgym.judge import Judge, Judgement
from medgym.policy import Policy, Sampling
from medgym.trajectory import Trajectory


class JudgeTally(Protocol):
    """What a judge counts of the episodes that it was given."""

    def add(self, case: Case, trajectory: Trajectory) -> None:
        """Count an episode. Episodes come in the order in which they end, which differs from run
        to run; the figures must not depend on it."""
        ...

    def judgement(self) -> Judgement:
        """The figures of all episodes so far, without `trajectories`.

        Raises:
            UserError: there is none. RunError: none of them can be judged.
        """
        ...


_ATTRIBUTE = "tally"

Judging = TypeVar("Judging", bound=Callable[..., Judgement])


def by_stream(make: Callable[[str], JudgeTally]) -> Callable[[Judging], Judging]:
    """Mark a judge as one that can judge by the stream.

        @by_stream(MyTally)
        def judge(policy, cases, rules, *, sampling, ...): ...

    Args:
        make: of the policy's spec makes an empty tally.
    """

    def marked(judge: Judging) -> Judging:
        setattr(judge, _ATTRIBUTE, make)
        return judge

    return marked


def tally_of(
    judge: Judge,
    name: str,
    policy: Policy,
    cases: CaseList,
    rules: Rules,
    *,
    sampling: Sampling,
    seed: int,
) -> JudgeTally:
    """What counts the episodes of an evaluation for a judge.

    Args:
        judge: as `load_judge` gives it. name: under which it is registered.
        policy, cases, rules, sampling, seed: of the episodes.
    """
    make: Callable[[str], JudgeTally] | None = getattr(judge, _ATTRIBUTE, None)
    if make is None:
        return _Held(judge, policy, cases, rules, {"sampling": sampling, "seed": seed})
    with calling(f"the judge {name!r}"):
        return _Called(name, make(policy.spec))


class _Called:
    """A judge's tally, whose errors name the judge."""

    def __init__(self, name: str, tally: JudgeTally) -> None:
        self._name = f"the judge {name!r}"
        self._tally = tally

    def add(self, case: Case, trajectory: Trajectory) -> None:
        with calling(self._name):
            self._tally.add(case, trajectory)

    def judgement(self) -> Judgement:
        with calling(self._name):
            found: object = self._tally.judgement()
            if not isinstance(found, Judgement):
                kind = type(found).__name__
                raise ContractError(f"tallied a {kind}; expected a medgym.Judgement")
        return found


class _Held:
    """Holds all episodes for a judge that cannot judge by the stream."""

    def __init__(
        self, judge: Judge, policy: Policy, cases: CaseList, rules: Rules, how: dict[str, Any]
    ) -> None:
        self._judge = judge
        self._policy = policy
        self._cases = cases
        self._rules = rules
        self._how = how
        self._played: list[tuple[Case, Trajectory]] = []

    def add(self, case: Case, trajectory: Trajectory) -> None:
        self._played.append((case, trajectory))

    def judgement(self) -> Judgement:
        places = {key.id: place for place, key in enumerate(self._cases.case_keys())}
        played = sorted(self._played, key=lambda each: (places[each[0].id], each[1].member))
        return self._judge(
            self._policy,
            [case for case, _ in played],
            self._rules,
            trajectories=[trajectory for _, trajectory in played],
            **self._how,
        )
