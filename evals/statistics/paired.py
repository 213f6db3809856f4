"""Two policies on the same cases: the difference, its interval, and tests of no difference."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgym.errors import UserError
from medgym.metrics.groups import RESAMPLES, Floats, Groups
from medgym.metrics.intervals import Interval, difference_interval, mean_interval

Verdict = Literal["win", "tie", "loss"]


@dataclass(frozen=True)
class PairedDifference:
    """How the second of two policies did against the first, on the same cases.

    Attributes:
        interval: the mean difference, second less first, with its 95 % interval.
        only_first, only_second: cases that only the first (the second) got right; None where the
            scores are no shares.
        mcnemar: p of the mid-p McNemar test, which takes cases as independent; None where they are
            not, or where scores are no shares.
        permutation: p of the test that exchanges the two policies within whole groups.
    """

    interval: Interval
    only_first: int | None
    only_second: int | None
    mcnemar: float | None
    permutation: float

    @property
    def outcome(self) -> Verdict:
        """`win` or `loss` of the second where the interval excludes zero, else `tie` (after Jeong
        et al. 2024, "Medical adaptation of large language and vision-language models: are we making
        progress?")."""
        if not self.interval.excludes_zero:
            return "tie"
        return "win" if self.interval.value > 0 else "loss"

    def as_dict(self) -> dict[str, object]:
        """The difference as JSON holds it."""
        return vars(self) | {"interval": self.interval.as_dict(), "outcome": self.outcome}


def difference(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedDifference:
    """Compare the scores of two policies on the same cases.

    Args:
        first, second: the score of each case, in the same order; 0 or 1 where an answer is right or
            wrong.
        groups: what each case belongs to; by default each is independent.

    Raises:
        UserError: there is no case, or there are not as many scores of the one as of the other.
    """
    if len(first) != len(second):
        raise UserError(
            f"{len(first)} scores cannot be paired with {len(second)}; fix: judge both policies on "
            "the same cases"
        )
    gains = [float(b) - float(a) for a, b in zip(first, second, strict=True)]
    scores = {*map(float, first), *map(float, second)}
    is_share = scores <= {0.0, 1.0}
    most = 1.0 if min(scores, default=0.0) >= 0 and max(scores, default=0.0) <= 1 else np.inf
    if is_share:
        found = difference_interval(gains, groups, seed=seed, resamples=resamples)
    else:
        found = mean_interval(gains, groups, within=(-most, most), seed=seed, resamples=resamples)
    losses, wins = sum(gain < 0 for gain in gains), sum(gain > 0 for gain in gains)
    independent = found.groups == len(gains)
    return PairedDifference(
        interval=found,
        only_first=losses if is_share else None,
        only_second=wins if is_share else None,
        mcnemar=mcnemar(losses, wins) if is_share and independent else None,
        permutation=permutation(gains, groups, seed=seed, resamples=resamples),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """p of the two-sided McNemar test of two numbers of discordant cases (McNemar 1947), mid-p.

    Half of the chance of what was seen counts, so that the test has its level: the exact one raises
    fewer alarms than it says and tells fewer policies apart (Fagerland, Lydersen and Laake 2013).
    """
    from scipy.special import bdtr

    discordant, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    upto, below = bdtr([fewer, fewer - 1], discordant, 0.5)
    return float(2 * upto - (upto - (below if fewer else 0.0)))


def permutation(
    gains: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> float:
    """p of the two-sided test that the two policies could be exchanged within each group.

    The sign of a group's whole gain is flipped. Where there are at most 2^13 ways all are tried,
    else `resamples` of them, and the one that was seen. What is as extreme as what was seen counts
    half (mid-p), as in `mcnemar`: sums of right answers are whole numbers, and often equal.
    """
    sums = Groups.of([gains], groups).sums[:, 0]
    sums = sums[sums != 0]
    seen, near = abs(sums.sum()), 1e-9 * np.abs(sums).sum()
    if seen <= near:
        return 1.0
    if len(sums) <= 13:
        signs = 1 - 2 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
        beyond, equal = _extremes(signs @ sums, seen, near)
        return (beyond + equal / 2) / len(signs)
    rng, beyond, equal, left = np.random.default_rng(seed), 0, 1, resamples
    while left:
        step = min(left, max(1, 4_000_000 // len(sums)))
        signs = 1 - 2 * rng.integers(0, 2, (step, len(sums)), dtype=np.int8)
        for some in np.array_split(signs, 8):  # the product takes eight bytes for each sign
            more, same = _extremes(some @ sums, seen, near)
            beyond, equal = beyond + more, equal + same
        left -= step
    return (beyond + equal / 2) / (resamples + 1)


def _extremes(drawn: Floats, seen: float, near: float) -> tuple[int, int]:
    """How many sums are more extreme than what was seen, and how many as extreme."""
    away = np.abs(drawn) - seen
    return int(np.sum(away > near)), int(np.sum(np.abs(away) <= near))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several tests, adjusted so that the chance of any false alarm stays under the
    level (Holm 1979)."""
    if not p_values:
        return []
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(each) for each in adjusted]
