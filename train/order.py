"""The order in which cases are trained on: fixed by the seed before training begins."""

from collections.abc import Sequence

import numpy as np

from medgym.cases import Case
from medgym.seeds import seed_of


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
