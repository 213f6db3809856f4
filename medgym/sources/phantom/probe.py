"""A classifier that tries to read a lesion's kind from the overview, where the gold box points.

It is the easiest possible leak: the place is given away, and so are hundreds of labelled examples.
On the overview it must do no better than guessing; on the close view of the same lesions the same
classifier must succeed, which proves that it can see what there is to see.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.study import Study
from medgym.sources.phantom.balance import ALARM, CheckRow
from medgym.sources.phantom.modalities import APPEARANCES, GRIDS, KINDS, Pixels
from medgym.sources.phantom.source import PhantomPlan

CHANCE = 1 / len(KINDS)

LEAST_PROBED = 160
"""Lesions below which the probe cannot learn enough to prove that it sees."""

SEES = 0.9
"""Accuracy on the close view that proves it."""

WIDEST = 16
"""Pixels of view a block of which the probe reads at most."""

Real = NDArray[np.float64]
Cells = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Probe:
    """How many of the tested lesions were named rightly, on the overview and close by."""

    tested: int
    overview: int
    close: int


def probe(
    lesions: Sequence[PhantomPlan], side: int, overview: Callable[[Study, int], Pixels]
) -> Probe:
    """Train on half of the lesions, at overviews of `side`, and test on the other half."""
    far, near = [], []
    for plan in lesions:
        study = Study(plan.draw())
        # The second tone of a texture is darker in a dark look: turned over, looks are alike.
        sign = -1 if APPEARANCES[plan.look].dark else 1
        seen = folded(overview(study, side), plan.cells, plan.block * side / plan.size)
        far.append(sign * seen)
        near.append(sign * _close(study, plan))
    return learned(far, near, [KINDS.index(plan.kind or "") for plan in lesions])


def learned(far: Sequence[Real], near: Sequence[Real], kind_of: Sequence[int]) -> Probe:
    """Train on half of the lesions and test on the other half.

    Args:
        far, near: what is to be read of each lesion from the overview and from close by.
        kind_of: the kind of each, 0 to 3.
    """
    kinds = np.array(kind_of)
    # At random: taking turns would follow the order in which looks and questions take turns.
    test = np.zeros(len(kinds), bool)
    test[np.random.default_rng(0).permutation(len(kinds))[::2]] = True
    return Probe(
        tested=int(test.sum()),
        overview=_right(_filled(far), kinds, test),
        close=_right(_filled(near), kinds, test),
    )


def _close(study: Study, plan: PhantomPlan) -> Real:
    """The lesion and one block around it, at two pixels of view a half-period."""
    x0, y0, x1, y1 = plan.box_px
    block, scale = plan.block, GRIDS[plan.size].half_period // 2
    box = (x0 - block, y0 - block, x1 + block, y1 + block)
    view = study.render(box, ((box[2] - box[0]) // scale, (box[3] - box[1]) // scale))
    cells = [(column - box[0] // block, row - box[1] // block) for column, row in plan.cells]
    return folded(np.asarray(view), cells, block / scale)


def folded(view: Pixels, cells: Cells, side: float) -> Real:
    """A lesion's blocks laid over each other, with one pixel of view around each.

    The lesion is told apart from its surroundings by its cells, so that its shape and its place do
    not hide a leak: the mean block, and the mean one of those at its left, right, upper and lower
    edge, each less its own mean. `side` is a block's in pixels of view. NaN where there is no such
    block. Returns 5 x n x n values in a row.
    """
    grey = view.astype(np.float64)
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    grey = np.pad(grey, (1, 3), mode="edge")
    n = min(max(round(side), 1), WIDEST) + 2
    members: list[list[Real]] = [[], [], [], [], []]
    for column, row in cells:
        top, left = int(row * side), int(column * side)
        patch = grey[top : top + n, left : left + n]
        patch = patch - patch.mean()
        members[0].append(patch)
        for edge, (x, y) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1)), start=1):
            if (column + x, row + y) not in cells:
                members[edge].append(patch)
    none = np.full((n, n), np.nan)
    return np.concatenate([np.mean(some or [none], axis=0).ravel() for some in members])


def _filled(features: Sequence[Real]) -> Real:
    """Lesions as rows; what a lesion lacks is set to the mean of the others."""
    rows = np.array(features)
    means = np.nan_to_num(np.nanmean(rows, axis=0))
    return np.where(np.isnan(rows), means, rows)


def _right(features: Real, kinds: NDArray[np.int_], test: NDArray[np.bool_]) -> int:
    """Ridge regression onto the kinds, by its dual (fewer lesions than features): right answers."""
    train = ~test
    scale = features[train].std(axis=0) + 1e-6
    scaled = (features - features[train].mean(axis=0)) / scale
    inner = scaled[train] @ scaled[train].T
    targets = np.eye(len(KINDS))[kinds[train]] - CHANCE
    ridge = (0.1 * np.trace(inner) / len(inner) + 1e-9) * np.eye(len(inner))
    weights = scaled[train].T @ np.linalg.solve(inner + ridge, targets)
    guesses = np.argmax(scaled[test] @ weights, axis=1)
    return int((guesses == kinds[test]).sum())


def probe_row(check: str, found: Probe, fix: str) -> CheckRow:
    """A row that says whether a probe reads the kind from afar; close by it has to."""
    low, high = interval(found.tested)
    figure = (
        f"{found.overview / found.tested:.1%} of {found.tested} (guessing: {CHANCE:.0%}, in "
        f"95 % of cases {low / found.tested:.1%} to {high / found.tested:.1%}); on the close "
        f"view {found.close / found.tested:.1%}"
    )
    if tail(found.overview, found.tested) < ALARM:
        return CheckRow(check, "fail", figure, fix)
    if found.close < SEES * found.tested:
        return CheckRow(check, "fail", figure, "the probe is blind: give more cases")
    if low <= found.overview <= high:
        return CheckRow(check, "pass", figure)
    # One honest phantom set in twenty comes here, so it is no proof of a leak.
    return CheckRow(check, "warn", figure, "outside of 95 %: check other cases as well")


def too_few(check: str, lesions: int) -> CheckRow | None:
    """The row of a probe that has too few lesions to learn from."""
    if lesions >= LEAST_PROBED:
        return None
    figure = f"{lesions} lesions: too few to learn from"
    return CheckRow(check, "warn", figure, f"give {LEAST_PROBED} or more")


def tail(right: int, tested: int) -> float:
    """The probability that guessing names so many or more."""
    from scipy.stats import binom

    return float(binom.sf(right - 1, tested, CHANCE))


def interval(tested: int) -> tuple[int, int]:
    """The fewest and the most that guessing names in 95 % of cases (2.5 % cut off on each side)."""
    from scipy.stats import binom

    low, high = binom.ppf((0.025, 0.975), tested, CHANCE)
    return int(low), int(high)
