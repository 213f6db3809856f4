"""What a suite is: something that judges a policy on cases and says how sure it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from medgym.cases import Case
from medgym.episode import Rules
from medgym.policy import Policy, Sampling
from medgym.rollout import OnMessages
from medgym.trajectory import Trajectory


@dataclass(frozen=True)
class Rate:
    """A share of cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


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
        turns: mean number of replies.
        trajectories: what was played, in the order of the cases.
    """

    policy: str
    accuracy: Rate
    answered: float
    looked: float
    hit: float | None
    by_answer: Mapping[str, Rate]
    turns: float
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
