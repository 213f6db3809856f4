"""What several episodes of each case say: pass@k and majority@k."""

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb

from medgym.errors import UserError


def pass_at(k: int, right: int, samples: int) -> float:
    """The chance that at least one of k episodes is right, when `right` of `samples` were.

    The unbiased estimate of Chen et al. 2021 (arXiv 2107.03374): 1 - C(n - c, k) / C(n, k).

    Raises:
        UserError: there are fewer episodes than k.
    """
    _check(k, samples)
    return 1.0 - comb(samples - right, k) / comb(samples, k)


def majority_at(k: int, answers: Sequence[tuple[Hashable | None, bool]]) -> float:
    """The chance that the answer most often given in k of these episodes is right.

    Over all subsets of k episodes where there are at most 10,000 of them, else over the first
    10,000 in a fixed order. Equal counts share the credit. An episode without an answer has no
    vote; without any vote the answer is wrong.

    Args:
        answers: of each episode the answer, normalised, and whether it is right.

    Raises:
        UserError: there are fewer episodes than k.
    """
    from itertools import combinations, islice

    _check(k, len(answers))
    is_right = {answer: right for answer, right in answers if answer is not None}
    credit, count = 0.0, 0
    for chosen in islice(combinations([answer for answer, _ in answers], k), 10_000):
        votes = Counter(answer for answer in chosen if answer is not None)
        most = max(votes.values(), default=0)
        leaders = [answer for answer, number in votes.items() if number == most]
        credit += sum(is_right[answer] for answer in leaders) / len(leaders) if leaders else 0.0
        count += 1
    return credit / count


def _check(k: int, samples: int) -> None:
    if not 1 <= k <= samples:
        raise UserError(f"k is {k} and each case has {samples} episodes; fix: play at least k")
