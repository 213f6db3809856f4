"""Random search with successive halving: all candidates on few cases, the better ones on more.

After each rung the best third goes on. No prompt at all goes on always, so that the last rung says
on all cases what the chosen prompt gains.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medgym.errors import UserError

from .grammar import Candidate
from .trials import Trials

SHRINK = 3
"""One of so many candidates goes on to the next rung, on so many times the cases."""

FEWEST = 8
"""Cases of the first rung, where there are so many."""


@dataclass(frozen=True)
class Rung:
    """How many candidates are tried on how many cases, counted from the first one."""

    candidates: int
    cases: int


def rungs(candidates: int, cases: int) -> list[Rung]:
    """The rungs from the first, with all candidates, to the last, with all cases."""
    steps = math.ceil(math.log(candidates, SHRINK)) if candidates > 1 else 0
    deepest = math.floor(math.log(max(1.0, cases / FEWEST), SHRINK))
    last = min(steps, deepest)
    return [
        Rung(
            max(2, math.ceil(candidates / SHRINK**step)),
            math.ceil(cases / SHRINK ** (last - step)),
        )
        for step in range(last + 1)
    ]


def cost(plan: Sequence[Rung]) -> int:
    """The most episodes that a plan takes: an episode is played once, and no prompt goes on."""
    first, *others = plan
    total, before = first.candidates * first.cases, first.cases
    for rung in others:
        total += min(rung.candidates + 1, first.candidates) * (rung.cases - before)
        before = rung.cases
    return total


def planned(candidates: int, cases: int, budget: int) -> list[Rung]:
    """The plan with the most candidates, up to `candidates`, that the budget allows.

    Raises:
        UserError: it does not allow two.
    """
    if candidates < 2:
        return [Rung(1, cases)]
    for count in range(candidates, 1, -1):
        plan = rungs(count, cases)
        if cost(plan) <= budget:
            return plan
    raise UserError(
        f"two prompts on {cases} cases take {cost(rungs(2, cases))} episodes, and the budget "
        f"leaves {budget}; fix: raise --budget, or use fewer cases (--limit)"
    )


def halve(
    found: Sequence[Candidate],
    plan: Sequence[Rung],
    trials: Trials,
    on_rung: Callable[[int, Sequence[Candidate]], None] = lambda rung, left: None,
) -> Candidate:
    """The candidate that is the best on all cases, among those that reached the last rung.

    Of equal ones the one that was drawn first is chosen, so that a prompt must beat no prompt.

    Args:
        on_rung: is called with each rung's number and its candidates.
    """
    left = list(found[: plan[0].candidates])
    for number, rung in enumerate(plan):
        if number:
            kept = ranked(left, trials)[: rung.candidates]
            left = [each for each in left if each in kept or each.number == 0]
        on_rung(number, left)
        for each in left:
            trials.play(each, rung.cases)
    return ranked(left, trials)[0]


def ranked(left: Sequence[Candidate], trials: Trials) -> list[Candidate]:
    """Candidates from the best to the worst, on the cases that they were tried on."""
    return sorted(left, key=lambda each: (-trials.accuracy(each).value, each.number))
