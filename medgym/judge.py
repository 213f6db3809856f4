"""What a judge is: it runs a policy on cases and says how well the policy did, with an interval.

A judge is registered in the entry-point group `medgym.judges`; `medgym eval --judge NAME` runs it.
Whether an answer is right is decided by a scorer (`medgym.scorer`), never by the judge itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Protocol

from medgym.cases import Case
from medgym.episode import Rules
from medgym.failures import ContractError, calling
from medgym.metrics.rate import Rate
from medgym.policy import Policy, Sampling
from medgym.rollout import OnMessages
from medgym.trajectory import Trajectory
from medgym.unreadable import as_figures


@dataclass(frozen=True)
class RoleJudgement:
    """How one role of a consultation did, over all its episodes.

    Attributes:
        right: share of right answers to what the role was asked (triage: for a specialty), over the
            episodes whose machinery did not fail. An episode without an answer is wrong.
        answered: share of these that ended with an answer.
        failed: number of episodes whose machinery failed for good. The other figures leave them
            out.
        turns, calls, tokens, seconds: means of an episode: replies, tool calls, tokens (see
            `Trajectory.tokens`), and wall-clock time, other episodes running beside it.

    Where every episode failed there is no share and no mean: None.
    """

    right: Rate
    answered: float | None
    failed: int
    turns: float | None
    calls: float | None
    tokens: float | None
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """The figures as `results.json` holds them."""
        return vars(self) | {"right": self.right.as_dict()}


@dataclass(frozen=True)
class Judgement:
    """How a policy did on cases.

    Attributes:
        policy: the policy's spec.
        accuracy: share of right answers, over all cases that could be read. A case without an
            answer is wrong. All figures but `withheld` leave out a case whose reply the server
            withheld.
        answered: share of episodes that ended with an answer.
        looked: share of episodes in which a tool showed something.
        hit: share of the cases with gold regions in which a look showed a whole region. None where
            no case has a gold region.
        by_answer: accuracy among the cases of each gold answer, of `choice` and `closed` cases.
        turns, calls, tokens: means of an episode: replies, tool calls, tokens (see
            `Trajectory.tokens`). Of a consultation: over all roles together.
        roles: of a consultation, how each role did; empty for a single policy.
        trajectories: the episodes, in the order of the cases; empty where they were judged by the
            stream (`medgym.tally`).
        reward: mean reward by the rubric of the rules.
        scorers: the version of each scorer that decided what is right, by its name.
        unreadable: the cases whose images cannot be read, and why, by their ids. All figures but
            this and `accuracy_of_all` leave them out.
        accuracy_of_all: the accuracy where each unreadable case counts as one that was not right;
            None where all could be read.
        withheld: share of the cases whose reply the server withheld, by why
            (`medgym.failures.Withheld`); empty where there is none.
        failed: the episodes whose machinery failed for good, by `CASE#MEMBER`, and why. They are no
            wrong answers: the other figures leave them out.
        metrics: what this judge measures beyond the above, by name: a share with its interval, or a
            number. The table of `medgym eval` and `results.json` show them.
        cases, episodes: how many were judged, where `trajectories` does not hold them.
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
    reward: float | None = None
    scorers: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    accuracy_of_all: Rate | None = None
    withheld: Mapping[str, Rate] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Rate | float] = field(default_factory=dict)
    cases: int | None = None
    episodes: int | None = None

    @property
    def case_count(self) -> int:
        """How many cases were judged; one that was played several times is one."""
        if self.cases is not None:
            return self.cases
        return len({trajectory.case_id for trajectory in self.trajectories})

    @property
    def episode_count(self) -> int:
        """How many episodes were judged, with those that failed."""
        return len(self.trajectories) if self.episodes is None else self.episodes

    def as_dict(self) -> dict[str, Any]:
        """The figures as every `results.json` holds them (see `medgym.storage.results`), without
        the trajectories."""
        of_all = self.accuracy_of_all
        return {
            "policy": self.policy,
            "accuracy": self.accuracy.as_dict(),
            "reward": self.reward,
            "answered": self.answered,
            "looked": self.looked,
            "hit": self.hit,
            "turns": self.turns,
            "calls": self.calls,
            "tokens": self.tokens,
            "by_answer": {answer: rate.as_dict() for answer, rate in self.by_answer.items()},
            "scorers": dict(self.scorers),
            "roles": {role: figures.as_dict() for role, figures in self.roles.items()},
            "accuracy_of_all": None if of_all is None else of_all.as_dict(),
            "unreadable": as_figures(self.unreadable, self.case_count),
            "withheld": {why: rate.as_dict() for why, rate in self.withheld.items()},
            "failed": dict(self.failed),
            "metrics": {
                name: value.as_dict() if isinstance(value, Rate) else value
                for name, value in self.metrics.items()
            },
        }


class Judge(Protocol):
    """A function that judges; registered in the entry-point group `medgym.judges`.

    To write one: roll the policy out with `medgym.collect(cases, policy, rules, ..., ordered=True)`
    and make a `Judgement` of the trajectories. `medgym.evals.judges.vqa.judgement` makes the usual
    figures of trajectories; `dataclasses.replace(judgement, metrics={...})` adds a judge's own.
    `medgym.tally.by_stream` marks a judge that can count episodes one by one; of any other judge
    `medgym eval` holds all episodes in memory until the last one has ended.
    """

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
        trajectories: Sequence[Trajectory] | None = None,
    ) -> Judgement:
        """Run the policy once on every case and judge it.

        Args:
            policy: what is judged.
            cases: the cases, with their gold.
            rules: tools, rubric, budgets, view size.
            sampling: how replies are sampled; temperature 0 is greedy.
            seed: the same seed gives the same episodes.
            on_progress: is called with the number of cases done.
            on_messages: is called with each finished conversation; a store of images takes it.
            trajectories: the episodes of all cases, in their order, where they were run before:
                then none is run. Training gives it where several processes shared the cases.

        Raises:
            UserError: there is no case.
            RunError: the machinery failed on a case for good, other than by a withheld reply.
        """
        ...


def load_judge(name: str = "vqa") -> Judge:
    """The judge that is registered as `name`.

    Whatever it raises is a `RunError` that names it, unless it is an error of the user.

    Raises:
        UserError: there is none, and the nearest one is named.
    """
    from medgym.registry import load

    judge: Judge = load("judges", name)

    @wraps(judge)
    def judged(*args: Any, **options: Any) -> Judgement:
        with calling(f"the judge {name!r}"):
            found: object = judge(*args, **options)
            if not isinstance(found, Judgement):
                raise ContractError(
                    f"returned a {type(found).__name__}; expected a medgym.Judgement"
                )
        return found

    return judged
