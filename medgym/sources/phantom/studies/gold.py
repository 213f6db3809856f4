"""What is wrong with the gold of a case of phantom studies, found from the pixels.

A lesion lies where two drawings differ whose lesions are of other kinds and otherwise the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case
from medgym.imaging.imaging_study import ImagingStudy
from medgym.regions import Region
from medgym.sources.phantom.settings import SIDES
from medgym.sources.phantom.studies.cases import opened
from medgym.sources.phantom.studies.plan import StudyPlan
from medgym.sources.phantom.studies.questions import STUDY_QUESTIONS, plane_of
from medgym.sources.phantom.studies.signals import SIGNALS
from medgym.sources.phantom.studies.textures import KINDS, tile


def with_other_kinds(plan: StudyPlan, shift: int) -> StudyPlan:
    """The same study, in which each lesion has the kind that lies so many places further on."""
    findings = tuple(
        replace(each, kind=KINDS[(KINDS.index(each.kind) + shift) % len(KINDS)])
        for each in plan.findings
    )
    return replace(plan, findings=findings)


def study_gold_faults(case: Case, plans: Sequence[StudyPlan]) -> Iterator[str]:
    """What is wrong with a case that shows the image series of these plans."""
    areas = []
    for image, plan in enumerate(plans):
        regions = [region for region in case.regions if region.image == image]
        if SIGNALS[plan.name.look].contrast(plan) == 0:
            if regions:
                yield f"image {image} hides the kind and has a region"
            continue
        study = opened(plan)
        found = _found(plan, study)
        areas.append(int(max((blocks.sum() for blocks in found.values()), default=0)))
        for region in regions:
            yield from _region_faults(region, plan, study, found)
        if any(blocks.any() for blocks in found.values()):
            yield f"image {image} has a lesion without a region"
    yield from _answer_faults(case, plans, areas)


def _found(plan: StudyPlan, study: ImagingStudy) -> dict[int, NDArray[np.bool_]]:
    """The blocks of each image where the kind shows, as (row, column) on the grid."""
    other, plane = opened(with_other_kinds(plan, 1)), plane_of(plan.name)
    block, found = plan.grid.block, {}
    for index in range(study.planes[plane].count):
        differs = study.values(plane, index) != other.values(plane, index)
        if differs.ndim == 3:
            differs = differs.any(axis=2)
        if differs.any():
            side = plan.size // block
            found[index] = differs.reshape(side, block, side, block).any(axis=(1, 3))
    return found


def _region_faults(
    region: Region, plan: StudyPlan, study: ImagingStudy, found: dict[int, NDArray[np.bool_]]
) -> Iterator[str]:
    """What is wrong with a region. What it explains is taken from `found`."""
    block = plan.grid.block
    if region.plane != plane_of(plan.name) or region.index is None or region.mask is None:
        yield "a region does not say on which images it lies"
        return
    mask = region.mask.array()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if region.box_px != (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1):
        yield "a box is not that of its mask"
    blocks = mask[::block, ::block]
    if (np.kron(blocks, np.ones((block, block), bool)) != mask).any():
        yield "a mask does not consist of whole blocks"
    texture = np.kron(np.ones_like(blocks), tile(region.label, plan.grid))
    for index in range(region.index, region.index + region.count):
        seen = found.get(index)
        if seen is None or not seen[blocks].all():
            yield f"the lesion is not on image {index}"
            continue
        seen[blocks] = False
        values = study.values(region.plane, index)
        grey = values if values.ndim == 2 else values.mean(axis=2)
        side = plan.grid.square
        squares = grey.reshape(-1, side, plan.size // side, side)
        mean = np.kron(squares.mean(axis=(1, 3)), np.ones((side, side)))
        second = grey > mean if SIGNALS[plan.name.look].is_bright else grey < mean
        if (second != texture)[mask].any():
            yield f"a region is labelled {region.label} and looks otherwise on image {index}"


def _answer_faults(case: Case, plans: Sequence[StudyPlan], areas: Sequence[int]) -> Iterator[str]:
    regions = [region for region in case.regions if region.image == len(plans) - 1]
    asked = next(name for name, each in STUDY_QUESTIONS.items() if each.text == case.question)
    if not regions:
        yield "the last image has no region"
        return
    region, plan = regions[0], plans[-1]
    if asked != "count" and len(regions) != 1:
        yield f"there are {len(regions)} lesions in a question about one"
    x0, _, x1, _ = region.box_px
    said = {
        "kind": region.label,
        "side": SIDES[0] if x1 <= plan.size / 2 else SIDES[1] if x0 >= plan.size / 2 else "both",
        "slice": str(region.index),
        "count": str(len(regions)),
    }
    if asked == "hounsfield" and region.mask is not None:
        values = opened(plan).values(plane_of(plan.name), region.index or 0)
        said[asked] = f"{values[region.mask.array()].mean():g}"
    if asked == "change":
        before, now = areas
        more = "larger" if now > before else "smaller" if now < before else "unchanged"
        said[asked] = more if before else "new"
    if case.answer != said[asked]:
        yield f"the answer is {case.answer!r} and should be {said[asked]!r}"
