"""What a suite is: something that judges a policy on cases and says how sure it is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from medgym.cases import Case
from medgym.episode import Rules
from medgym.policy import Policy, Sampling
from medgym.rollout import OnMessages
from medgym.trajectory import Trajectory

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share of cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> "Rate":
        """The share of True with its Wilson score interval (no continuity correction).

        Unlike the normal approximation it stays within 0..1 and has a width at 0 % and 100 % too.
        It takes the outcomes as independent: cases of one patient would need a clustered interval.
        For no outcomes the share is 0 and the interval says nothing: 0..1.
        """
        from scipy.stats import binomtest

        seen = [bool(outcome) for outcome in outcomes]
        if not seen:
            return cls(0.0, 0.0, 1.0, 0)
        test = binomtest(sum(seen), len(seen))
        interval = test.proportion_ci(CONFIDENCE, method="wilson")
        return cls(sum(seen) / len(seen), float(interval.low), float(interval.high), len(seen))


@dataclass(frozen=True)
class RoleJudgement:
    """How one role of a consultation did, over all parts that it played.

    Attributes:
        right: share of right answers to what the role was asked (triage: for a specialty), over the
            parts that the machinery did not fail; one without an answer is wrong.
        answered: share of these that ended with an answer.
        failed: parts that the machinery failed for good, which count as nothing.
        turns, calls, tokens, seconds: means of a part: replies, tool calls, tokens (see
            `Trajectory.tokens`), and how long it took beside the others.

    Where all parts failed there is no share and no mean: None.
    """

    right: Rate
    answered: float | None
    failed: int
    turns: float | None
    calls: float | None
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class Judgement:
    """How a policy did on cases.

    Attributes:
        policy: the spec of who played.
        accuracy: share of right answers, over all cases; one that was not answered is wrong.
        answered: share of episodes that ended with an answer.
        looked: share of episodes in which a tool showed something.
        hit: share of the cases with gold regions in which a look showed a whole region.
        by_answer: accuracy among the cases of each gold answer, of `choice` and `closed` cases.
        turns, calls, tokens: means of a case: replies, tool calls, tokens (see
            `Trajectory.tokens`); of a consultation over all roles.
        roles: of a consultation, how each role did; empty for one policy.
        trajectories: what was played, in the order of the cases.
    """

    policy: str
    accuracy: Rate
    answered: float
    looked: float
    hit: float | None
    by_answer: Mapping[str, Rate]
    turns: float
    calls: float
    tokens: float
    roles: Mapping[str, RoleJudgement]
    trajectories: tuple[Trajectory, ...]


class Suite(Protocol):
    """Registered in the entry-point group `medgym.suites`."""

    def __call__(
        self,
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

        `on_progress` receives the number of cases done, `on_messages` each finished conversation.
        """
        ...
