"""One episode or more of each case, played so that nothing paid for is lost.

With a run's folder every finished episode is stored at once. The same evaluation again plays what
is missing and no more: after Ctrl-C, SIGKILL, or a server that died.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from medgym.cases import Case, CaseList
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import unreadable_of, withheld_of
from medgym.policy import Policy
from medgym.rollout import collect
from medgym.rollout.record import held_episodes
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite
from medgym.trajectory import Trajectory

FAIL_ABOVE = 0.05
"""The share of episodes that may fail for good before an evaluation says nothing."""


@dataclass(frozen=True)
class Played:
    """The episodes of an evaluation, those of a case one after the other.

    Attributes:
        cases, trajectories: an episode and its case at each place.
    """

    cases: list[Case]
    trajectories: list[Trajectory]


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
        self,
        cases: CaseList,
        rules: Rules,
        folder: RunFolder | None,
        on_episode: Callable[[Trajectory], None],
    ) -> Played:
        """Play the episodes of each case, without those that the folder holds already.

        Args:
            folder: where episodes and images are stored; None where nothing is kept.
            on_episode: is called with each episode, with those that were held too.

        Raises:
            UserError: a case has changed since it was played.
            RunError: more episodes failed than may; what is finished is stored.
        """
        made = list(cases)
        places = {case.id: place for place, case in enumerate(made)}
        total = len(made) * self.repeats
        found: dict[tuple[int, int], Trajectory] = {}

        def take(trajectory: Trajectory) -> None:
            found[places[trajectory.case_id], trajectory.member] = trajectory
            on_episode(trajectory)

        for trajectory in _held(folder, made):
            take(trajectory)
        failed: list[Trajectory] = []
        stream = collect(
            made,
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
                take(trajectory)
                if has_failed(trajectory):
                    failed.append(trajectory)
                    if len(failed) > self.fail_above * total:
                        raise _too_many(failed, total, folder)
        order = sorted(found)
        return Played([made[place] for place, _ in order], [found[key] for key in order])


def _held(folder: RunFolder | None, cases: Sequence[Case]) -> list[Trajectory]:
    """The episodes that an interrupted evaluation has stored, of these cases as they are now."""
    held = list(folder.trajectories) if folder is not None else []
    held_episodes(held, cases)
    return held


def has_failed(trajectory: Trajectory) -> bool:
    """Whether the machinery failed for good: neither the case nor a filter of the server did."""
    failure = trajectory.failure
    return failure is not None and not withheld_of(failure) and not unreadable_of(failure)


def _too_many(failed: list[Trajectory], of: int, folder: RunFolder | None) -> RunError:
    kept = f"the others are in {folder.path}; " if folder is not None else ""
    return RunError(
        f"{len(failed)} of {of} episodes failed, the first of {failed[0].case_id} "
        f"({failed[0].failure}), and a failed episode is not a wrong answer; {kept}fix: remove the "
        "cause and run the same command again, or allow more (--fail-above)"
    )
