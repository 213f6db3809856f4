"""One episode or more of each case, played so that nothing paid for is lost.

With a run's folder every finished episode is stored at once. The same evaluation again plays what
is missing and no more: after Ctrl-C, SIGKILL, or a server that died.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from medgym.cases import Case, CaseList
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import unreadable_of, withheld_of
from medgym.policy import Policy
from medgym.rollout import collect
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite
from medgym.trajectory import Trajectory

from .seen_cases import SeenCases

FAIL_ABOVE = 0.05
"""The share of episodes that may fail for good before an evaluation says nothing."""


@dataclass(frozen=True)
class Evaluation:
    """How a policy is evaluated.

    Attributes:
        policy: who plays. suite: its sampling. seed: of the episodes.
        repeats: episodes of each case.
        fail_above: the share of episodes that may fail for good. They are counted apart.
        where: of `collect`: `backend`, `workers`, `ray_address`, `concurrency`.
    """

    policy: Policy
    suite: Suite
    seed: int
    repeats: int
    fail_above: float
    where: Mapping[str, Any]

    def play(
        self, cases: CaseList, rules: Rules, folder: RunFolder | None = None
    ) -> Iterator[tuple[Case, Trajectory]]:
        """Play the episodes of each case, without those that the folder holds already.

        First come those that it holds, then the others as they end. None is kept here.

        Args:
            folder: where episodes and images are stored; None where nothing is kept.

        Raises:
            UserError: a case has changed since it was played.
            RunError: more episodes failed than may; what is finished is stored.
        """
        seen = SeenCases(cases)
        total = len(cases) * self.repeats
        for trajectory in folder.trajectories if folder is not None else ():
            yield seen.find_in_turn(trajectory.case_id), trajectory
        failed: list[str] = []
        stream = collect(
            seen,
            self.policy,
            rules,
            group_size=self.repeats,
            sampling=self.suite.sampling,
            seed=self.seed,
            out=folder,
            **self.where,
        )
        with closing(stream):  # type: ignore[type-var]
            for trajectory in stream:
                yield seen.find(trajectory.case_id), trajectory
                if has_failed(trajectory):
                    failed.append(f"{trajectory.case_id} ({trajectory.failure})")
                    if len(failed) > self.fail_above * total:
                        raise _too_many(failed, total, folder)


def has_failed(trajectory: Trajectory) -> bool:
    """Whether the machinery failed for good: neither the case nor a filter of the server did."""
    failure = trajectory.failure
    return failure is not None and not withheld_of(failure) and not unreadable_of(failure)


def _too_many(failed: list[str], of: int, folder: RunFolder | None) -> RunError:
    kept = f"the others are in {folder.path}; " if folder is not None else ""
    return RunError(
        f"{len(failed)} of {of} episodes failed, the first of {failed[0]}, and a failed episode is "
        f"not a wrong answer; {kept}fix: remove the cause and run the same command again, or allow "
        "more (--fail-above)"
    )
