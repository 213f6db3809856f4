"""The answer must be a box that overlaps the gold box: `[x0, y0, x1, y1]`.

The score is the overlap (intersection over union), of several accepted boxes the greatest; from
`RIGHT_FROM` on the answer is right. Gold and answer are in the frame that the question asks for:
thousandths and pixels of one view give the same overlap. A gold that is not a box is compared as
text. White space and a full stop at the end do not count.
"""

import re

from medgym.cases import Case, normalised
from medgym.imaging.study import Box
from medgym.metrics.regions import box_iou
from medgym.scorer import UNPARSED, Grade

from .exact import Exact

RIGHT_FROM = 0.5
"""The overlap from which on a box is right."""

_NUMBER = r"\s*(-?\d{1,7}(?:\.\d{1,7})?)\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


class BoxOverlap(Exact):
    """The overlap of the answer's box with the gold box; right from 0.5 on."""

    version = "3"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the boxes. An answer that is not a box of some area is unparsed."""
        boxes = [box for gold in case.golds if (box := _read(gold)) is not None]
        if not boxes:
            return super().__call__(case, answer)
        given = _read(answer)
        if given is None:
            return UNPARSED
        overlap = max(box_iou(gold, given) for gold in boxes)
        return Grade(overlap, "right" if overlap >= RIGHT_FROM else "wrong")


def _read(text: str) -> Box | None:
    match = _BOX.fullmatch(normalised(text))
    if match is None:
        return None
    x0, y0, x1, y1 = map(float, match.groups())
    box = (x0, y0, x1, y1)
    return box if x0 < x1 and y0 < y1 else None
