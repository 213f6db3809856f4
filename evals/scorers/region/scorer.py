"""The answer must name the gold regions: boxes, outlines or masks, as many as there are.

The gold is the text of the case's `answer`, in whatever frame the question asks for (thousandths
and pixels give the same overlap), or, where that is blank, the case's regions in original pixels.
`grammar` says what an answer may be. A gold that names no region is compared as text.

Boxes are matched with the gold boxes one to one, so that their overlaps (intersection over union)
together are greatest. The score is the mean overlap over as many places as the longer of the two
lists has: a box too many costs as much as one too few, and listing boxes everywhere earns nothing.
Right is an answer with as many boxes as the gold, each with an overlap of at least `RIGHT_FROM`.
Where the answer has an outline or a mask, its regions together are compared with the gold's
together, by pixels. In a volume both are compared over all its images.
"""

from collections.abc import Sequence

from medgym.cases import Case
from medgym.metrics.extents import frame_of, shared_extent
from medgym.regions import Region
from medgym.scorer import UNPARSED, WRONG, Grade

from ..exact import Exact
from .compared import GoldRegions, answered_regions, golds_of, overlaps
from .grammar import MOST_PIXELS, Shape

RIGHT_FROM = 0.5
"""The overlap from which on a region is right."""


class Regions(Exact):
    """The overlap with the gold regions; right from 0.5 on, for each of as many as there are."""

    version = "5"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the regions; of several golds the best counts. Other text is unparsed."""
        golds = golds_of(case)
        if not golds:
            return super().__call__(case, answer)
        grades = []
        for gold in golds:
            shapes = answered_regions(case, answer, gold)
            if shapes is not None:
                grades.append(_graded(shapes, gold))
        return max(grades, key=lambda each: (each.right, each.score), default=UNPARSED)


def _graded(shapes: tuple[Shape, ...], gold: GoldRegions) -> Grade:
    given = [each.region for each in shapes]
    if all(each.is_box for each in shapes):
        found = overlaps(given, gold.regions)
        places = max(len(given), len(gold.regions))
        score = min(1.0, sum(found) / places)
        right = len(given) == len(found) == places and min(found) >= RIGHT_FROM
        return Grade(score, "right" if right else "wrong")
    if not is_comparable(given, gold.regions):
        return WRONG
    score = shared_extent(given, gold.regions).iou
    return Grade(score, "right" if score >= RIGHT_FROM else "wrong")


def is_comparable(given: Sequence[Region], gold: Sequence[Region]) -> bool:
    """Whether two sides can be compared: boxes always, pixels where there are not too many; there
    are if a box lies far outside the image beside an outline."""
    both = [*given, *gold]
    if all(each.mask is None for each in both):
        return True
    left, top, right, bottom = frame_of(both)
    return (right - left) * (bottom - top) <= MOST_PIXELS
