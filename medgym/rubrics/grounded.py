"""`grounded`: being right, and having looked where there was something to see.

Source: ours. It joins two published ideas: a reward for overlap with an expert's region, and
radiologists' gaze as a prior of where to look (CoGaze, arXiv 2603.26049, where it is a loss on
attention and not a reward). Formula:

    R = 1[right] + 0.1 * 1[form] + weight * 1[right] * overlap

Overlap is that of everything looked at with the case's gold regions, as IoU or, with
`measure=coverage`, as the share of gold that was seen. A case that carries a gaze map (regions
labelled `gaze`, see `medgym.metrics.regions`) is held to that one instead, by soft IoU or the share
of its gaze that was looked at.

Three rules keep it from being cheated. It is paid only where the answer is right. A view that shows
its region no finer than the first view did is not a look. All looks count together, so that looking
everywhere gives a poor IoU. A look that a later one refines (which lies within it) does not count.
Coverage suits gold that marks less than one must see; a view of nearly the whole image covers it.
"""

from medgym.cases import Case
from medgym.episode import Episode
from medgym.errors import unknown
from medgym.metrics.regions import overlap, placed
from medgym.rollout.record import looks_of
from medgym.rubric import Rubric, Term, TermFunction, answered_right, well_formed
from medgym.trajectory import Look

MEASURES = ("iou", "coverage")


def grounded(weight: float = 0.5, measure: str = "iou") -> Rubric:
    """Right, and looked in the right place; terms `answer`, `format`, `looking`.

    Args:
        weight: what perfect looking earns in addition to a right answer.
        measure: of the overlap, `iou` or `coverage`.
    """
    terms = (
        Term("answer", 1.0, answered_right),
        Term("format", 0.1, well_formed),
        Term("looking", weight, looked_there(measure)),
    )
    return Rubric("grounded", terms)


def looked_there(measure: str = "iou") -> TermFunction:
    """The term `looking`: the overlap where the answer is right, else 0."""
    if measure not in MEASURES:
        raise unknown("measure of overlap", measure, MEASURES)

    def looking(case: Case, episode: Episode) -> float:
        if not case.regions or not answered_right(case, episode):
            return 0.0
        value: float = getattr(overlap(closer(looks_of(episode)), placed(case)), measure)
        return value

    return looking


def closer(looks: tuple[Look, ...]) -> list[Look]:
    """The looks that count: finer than the first view, and not refined by a later one."""
    finer = [look for look in looks if look.gain > 1]
    return [
        look
        for place, look in enumerate(finer)
        if not any(_within(later, look) for later in finer[place + 1 :])
    ]


def _within(inner: Look, outer: Look) -> bool:
    a, b = inner.box_px, outer.box_px
    same = (inner.image, inner.plane, inner.index) == (outer.image, outer.plane, outer.index)
    return same and b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]
