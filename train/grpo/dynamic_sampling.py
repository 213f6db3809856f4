"""Dynamic sampling: a step of GRPO learns from groups whose members earn different rewards.

A group whose members all earn the same has no advantage and no gradient; a batch full of them is
generated for nothing. `SkipFlat` leaves such groups out and rolls out further cases in their place,
up to a multiple of the step's groups (DAPO, arXiv 2503.14476, equation 11; there a group is flat
where all its answers are right or all wrong, here where all its rewards are equal).

What a step samples depends only on the seed, the step and its cases, so that a resumed run repeats
it. What was left out, and why, is in the run's `selection.jsonl`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from medgym.cases import Case
from medgym.failures import unreadable_of
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from ..data.order import OrderedCases
from ..data.records import UNREADABLE, Record, Records

Group = list[tuple[Case, Trajectory]]
"""The members of one case's group, in order."""

Play = Callable[[Sequence[Case]], list[Group]]
"""Plays a whole group of each case."""

FLAT = 1e-6
"""Rewards that differ by no more are equal: they are sums of a few floats."""

NEIGHBOURS = 16
"""Further cases come from the training order within so many steps' cases of those that they
replace, so that an order from easy to hard stays one."""


class SkipFlat:
    """Exchanges groups without variance for groups of further cases.

    Args:
        cases: all cases of training, in its order. Where some come more than once, they are the
            `OrderedCases` that the step's cases are taken from: these know the place of each one
            that was taken last, which is the step's own.
        seed: the run's.
        most: how many groups a step may play at most, as a multiple of what it needs.
        masked: whether episodes that ran out of their budget are not trained on.
        records: where what was left out is written down; None in processes but the first.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        seed: int,
        most: float = 3.0,
        masked: bool = False,
        records: Records | None = None,
    ) -> None:
        self._cases = cases
        # In cases that are made lazily, those of a step are known once it has played them.
        self._places = (
            cases.places
            if isinstance(cases, OrderedCases)
            else {case.id: place for place, case in enumerate(cases)}
        )
        self._seed = seed
        self._most = most
        self._masked = masked
        self._records = records

    def __call__(self, step: int, groups: list[Group], play: Play) -> list[Group]:
        """As many groups as were given, with as few flat ones as `most` allows.

        Args:
            step: the optimiser's.
            groups: what the step has played; none of it failed.
            play: plays further groups; one with a failed member is left out.
        """
        wanted = len(groups)
        budget = int(self._most * wanted) - wanted
        good = [group for group in groups if not self._is_flat(group)]
        spare = [group for group in groups if self._is_flat(group)]
        left_out: list[Record] = []
        further = self._further(step, groups)
        while len(good) < wanted and budget > 0 and further:
            count = min(wanted - len(good), budget, len(further))
            taken, further = further[:count], further[count:]
            budget -= count
            for group in play(taken):
                if any(member.failure is not None for _, member in group):
                    left_out.append(_row(step, group, _lost(group)))
                else:
                    (spare if self._is_flat(group) else good).append(group)
        kept = (good + spare)[:wanted]
        used = {id(group) for group in kept}
        left_out += [_row(step, g, _why(g)) for g in (*spare, *good) if id(g) not in used]
        if self._records is not None and left_out:
            self._records.add("grpo", left_out)
        return kept

    def _is_flat(self, group: Group) -> bool:
        return is_flat(group, self._masked)

    def _further(self, step: int, groups: Sequence[Group]) -> list[Case]:
        """The cases near those of a step in the order of training, shuffled for this step."""
        played = [group[0][0].id for group in groups]
        middle = self._places[played[len(played) // 2]]
        span = NEIGHBOURS * len(groups)
        first = max(0, min(middle - span, len(self._cases) - 2 * span))
        near = self._cases[first : first + 2 * span]
        rng = np.random.default_rng(seed_of(self._seed, "further", step, *played))
        shuffled = [near[int(i)] for i in rng.permutation(len(near))]
        return [case for case in shuffled if case.id not in played]


def is_flat(group: Group, masked: bool = False) -> bool:
    """Whether all members of a group that are trained on earned the same."""
    counted = [member for _, member in group if not (masked and member.truncated)]
    rewards = [member.reward for member in counted if member.reward is not None]
    return not rewards or max(rewards) - min(rewards) <= FLAT


def _lost(group: Group) -> str:
    """Why a group cannot be trained on of which a member failed."""
    reasons = filter(None, (unreadable_of(member.failure) for _, member in group))
    reason = next(reasons, None)
    return "a member failed" if reason is None else f"{UNREADABLE}{reason}"


def _why(group: Group) -> str:
    right = sum(member.correct for _, member in group)
    if right == len(group):
        return "all right"
    return "all wrong" if right == 0 else "all earned the same"


def _row(step: int, group: Group, why: str) -> Record:
    rewards = [member.reward for _, member in group]
    return {"step": step, "case": group[0][0].id, "why": why, "rewards": rewards}
