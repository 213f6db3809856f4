"""Which cases a run opens, and the order in which they are trained on: fixed before it begins."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medgym.cases import Case, CaseList, open_cases
from medgym.errors import UserError
from medgym.seeds import seed_of


def gold_cases(spec: str) -> CaseList:
    """The cases of a spec, every one with gold, without which nothing can be earned.

    Raises:
        UserError: there are none, or some have neither an answer nor a region.
    """
    cases = open_cases(spec)
    if not len(cases):
        raise UserError(f"there are no cases in {spec}; fix: check its slice")
    bare = [case.id for case in cases if not case.answer.strip() and not case.regions]
    if bare:
        raise UserError(
            f"{len(bare)} of {len(cases)} cases of {spec} have no gold answer (the first is "
            f"{bare[0]}); fix: choose a split with answers"
        )
    return cases


def ordered(cases: Sequence[Case], kind: str, seed: int) -> list[Case]:
    """Cases in the order of training.

    `shuffled` is a permutation. `balanced` deals the gold answers out in rounds, each round holding
    every answer once in shuffled order, so that no step forgets one; cases that remain when an
    answer runs out are left away.
    """
    rng = np.random.default_rng(seed_of(seed, "order"))
    shuffled = [cases[int(i)] for i in rng.permutation(len(cases))]
    if kind == "shuffled":
        return shuffled
    hands: dict[str, list[Case]] = {}
    for case in shuffled:
        hands.setdefault(case.answer, []).append(case)
    answers = sorted(hands)
    rounds = min(len(hand) for hand in hands.values())
    dealt = []
    for turn in range(rounds):
        dealt += [hands[answers[int(i)]][turn] for i in rng.permutation(len(answers))]
    return dealt


def needed(grpo: Mapping[str, Any], available: int) -> int:
    """How many cases `[grpo]` trains on before it begins anew: one for each of its groups.

    All that are available where no number of steps is set. Defaults are `trl.GRPOConfig`'s.
    """
    steps = int(grpo.get("max_steps", -1))
    if steps < 0:
        return available
    rows = int(grpo.get("per_device_train_batch_size", 8))
    rows *= int(grpo.get("gradient_accumulation_steps", 1)) * int(os.environ.get("WORLD_SIZE", 1))
    groups = steps * rows / int(grpo.get("num_generations", 8)) / int(grpo.get("num_iterations", 1))
    return min(available, math.ceil(groups))
