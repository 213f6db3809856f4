"""A classifier that tries to read a lesion's kind from the first view of a study, and from a whole
image of it; see `medgym.sources.phantom.probe`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.study import Study, Window
from medgym.sources.phantom.balance import CheckRow
from medgym.sources.phantom.probe import folded, learned, probe_row, too_few
from medgym.sources.phantom.studies.cases import first_image, opened
from medgym.sources.phantom.studies.plan import StudyPlan
from medgym.sources.phantom.studies.questions import plane_of
from medgym.sources.phantom.studies.signals import TONED
from medgym.sources.phantom.studies.textures import KINDS

PATCH = 12
"""Rows and columns of what is read from a first view, around the lesion."""


def probe_rows(
    lesions: Sequence[StudyPlan], view_sizes: Sequence[int] | None = None
) -> Iterator[CheckRow]:
    """A row for first views and one for whole images, at each side of view.

    Args:
        lesions: studies with one lesion each.
    """
    sides = view_sizes or sorted({s for p in lesions[:1] for s in first_image(p).view_sizes or ()})
    checks = [(s, f"a probe cannot read the kind from {{}} of {s} x {s}") for s in sides]
    kinds = [KINDS.index(plan.findings[0].kind) for plan in lesions]
    near: list[Any] = []
    for side, check in checks:
        row = too_few(check.format("first views"), len(lesions))
        if row is not None:
            yield row
            continue
        near = near or [_close(plan) for plan in lesions]
        fix = f"the kind leaks: do not show it at {side}"
        far = [_first(plan, side) for plan in lesions]
        yield probe_row(check.format("first views"), learned(far, near, kinds), fix)
        far = [_whole(plan, side) for plan in lesions]
        yield probe_row(check.format("whole images"), learned(far, near, kinds), fix)


def _first(plan: StudyPlan, side: int) -> NDArray[np.float64]:
    """The first view around the lesion, each pixel as it is shown."""
    study, finding = first_image(plan), plan.findings[0]
    width, height = study.size
    across, down = study.true_size(width, height)
    size = [max(1, round(each * side / max(across, down))) for each in (across, down)]
    view = np.asarray(study.render((0, 0, width, height), (size[0], size[1])))
    x0, y0, x1, y1 = plan.box_px(finding)
    if height != plan.size:  # a scout, in which the head is above
        y0, y1 = (plan.depth - end for end in (finding.first + finding.count, finding.first))
    columns = np.linspace(x0, x1, PATCH, endpoint=False) * size[0] / width
    rows = np.linspace(y0, y1, PATCH, endpoint=False) * size[1] / height
    patch = view[np.ix_(rows.astype(int), columns.astype(int))]
    return np.asarray(patch.mean(axis=2).ravel(), np.float64)


def _whole(plan: StudyPlan, side: int) -> NDArray[np.float64]:
    """The whole image with the lesion, in the window in which the kind shows best."""
    view = _image(plan).render((0, 0, plan.size, plan.size), (side, side))
    return folded(np.asarray(view), plan.findings[0].cells, plan.grid.block * side / plan.size)


def _close(plan: StudyPlan) -> NDArray[np.float64]:
    """The lesion and one block around it, at two pixels of view a half-period."""
    finding, block = plan.findings[0], plan.grid.block
    x0, y0, x1, y1 = plan.box_px(finding)
    box = (x0 - block, y0 - block, x1 + block, y1 + block)
    half = plan.grid.half_period
    size = 2 * (box[2] - box[0]) // half, 2 * (box[3] - box[1]) // half
    cells = [(column - box[0] // block, row - box[1] // block) for column, row in finding.cells]
    return folded(np.asarray(_image(plan).render(box, size)), cells, 2 * block / half)


def _image(plan: StudyPlan) -> Study:
    finding, signal = plan.findings[0], TONED.get(plan.name.look)
    study = opened(plan).image(plane_of(plan.name), finding.first)
    if signal is None or signal.window(plan) is None:
        return study
    return replace(study, window=Window(signal.mean(plan, finding), 4.0 * signal.contrast(plan)))
