"""Cases whose images cannot be read: another case is trained on in the place of each.

What was left out is written into the run's `selection.jsonl`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medgym.cases import Case
from medgym.episode import Rules
from medgym.failures import unreadable_of
from medgym.seeds import seed_of
from medgym.unreadable import most_unreadable

from ..data.records import UNREADABLE, Records
from ..run.processes import to_first
from .watch.together import together

if TYPE_CHECKING:
    from .dynamic_sampling import Group

TRIES = 3
"""How often the unreadable cases of a step are exchanged for others."""

ENOUGH = 8
"""Unreadable cases from which on it counts whether they are most of those that were played."""


class LeavesOutUnreadable:
    """Mixed into a `GRPOTrainer` whose completions are episodes.

    Attributes:
        left_out: where unreadable cases are written down; None in processes but the first.
    """

    left_out: Records | None = None

    def readable(self: Any, pairs: "Group", rules: Rules) -> "Group":
        """The episodes of a step, those of unreadable cases exchanged for those of other cases.

        A group that is spread over processes is not exchanged. Raises as `StepRollouts.play`.

        Raises:
            RunError: most of the cases that were played so far cannot be read.
        """
        step, found = self.state.global_step, dict[str, str]()
        pairs = together(self.accelerator, lambda: _exchanged(self, pairs, rules, found))
        rows = [{"step": step, "case": c, "why": f"{UNREADABLE}{why}"} for c, why in found.items()]
        everyone = to_first(rows)
        if self.left_out is not None:
            self.left_out.add("grpo", everyone)
        return pairs


def _exchanged(trainer: Any, pairs: "Group", rules: Rules, found: dict[str, str]) -> "Group":
    """Args:
    found: receives the unreadable cases of the step, and why.
    """
    size, made = int(trainer.num_generations or 1), list(pairs)
    seen: dict[str, str | None] = trainer.__dict__.setdefault("_seen_cases", {})
    for number in range(TRIES + 1):
        gone = _noted(made, seen)
        found |= gone
        bad = {case: why for case, why in seen.items() if why is not None}
        if len(bad) >= ENOUGH and 2 * len(bad) > len(seen):
            raise most_unreadable(bad, len(seen))
        starts = [at for at in range(0, len(made), size) if made[at][0].id in gone]
        if not starts or len(made) % size or number == TRIES:
            break
        known = {case.id for case, _ in made} | bad.keys()
        others = _others(trainer, number, len(starts), known)
        more = trainer.played([c for c in others for _ in range(size)], rules, "readable", number)
        for place, at in zip(range(0, len(more), size), starts, strict=False):
            made[at : at + size] = more[place : place + size]
    return made


def _noted(pairs: "Group", seen: dict[str, str | None]) -> dict[str, str]:
    """The unreadable cases among these, and why; all of them are noted in `seen`."""
    gone: dict[str, str] = {}
    for case, trajectory in pairs:
        reason = unreadable_of(trajectory.failure)
        if reason is not None:
            gone[case.id] = reason
        seen[case.id] = gone.get(case.id)
    return gone


def _others(trainer: Any, number: int, count: int, known: set[str]) -> Sequence[Case]:
    """Other cases of training, as many as there are up to `count`, drawn by the seed."""
    step, process = trainer.state.global_step, trainer.accelerator.process_index
    rng = np.random.default_rng(seed_of(trainer.args.seed, "readable", step, process, number))
    found: dict[str, Case] = {}
    for index in rng.integers(len(trainer._cases), size=20 * count):
        case = trainer._cases[int(index)]
        if case.id not in known and len(found) < count:
            found.setdefault(case.id, case)
    return list(found.values())
