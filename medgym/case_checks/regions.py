"""Whether gold regions lie in the images that they are of."""

from collections import defaultdict
from dataclasses import dataclass, field

from medgym.case_checks.report import CheckRow, listed
from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.imaging_study import ImagingStudy
from medgym.imaging.slides.study import FINEST
from medgym.imaging.study import ImageRef, open_study, start_of
from medgym.regions import Region

ROUNDED = 1.0
"""Pixels by which a box may pass the edge, for boxes are rounded."""


@dataclass(frozen=True)
class _Gold:
    """A region of a case, without its mask; of that the size, as (width, height)."""

    case: str
    region: Region
    mask_size: tuple[int, int] | None


@dataclass
class RegionFindings:
    """Collects the regions of cases; `row` opens the headers of their images, each once."""

    found: dict[ImageRef, list[_Gold]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, case: Case) -> None:
        """Take note of a case's regions, without the pixels of their masks."""
        for region in case.regions:
            self.count += 1
            if not 0 <= region.image < len(case.images):
                self.wrong.append((case.id, "the case has no such image"))
                continue
            mask = region.mask
            size = None if mask is None else (mask.width, mask.height)
            gold = _Gold(case.id, region.model_copy(update={"mask": None}), size)
            self.found[case.images[region.image]].append(gold)

    def row(self) -> CheckRow | None:
        """What was found; None where no case has a region. Images that cannot be opened are another
        check's."""
        if not self.count:
            return None
        for ref, golds in self.found.items():
            try:
                study = open_study(ref)
                start, _ = start_of(study, ref)
            except UserError:
                continue
            for gold in golds:
                said = _fault(study, ref, start, gold)
                if said is not None:
                    self.wrong.append((gold.case, said))
        fix = "a box is x0, y0, x1, y1 in pixels of the original image, from the top left"
        return listed("each region lies in its image", self.wrong, self.count, fix)


def _fault(study: ImagingStudy, ref: ImageRef, start: str, gold: _Gold) -> str | None:
    planes, region = study.planes, gold.region
    plane = planes[start]
    if sum(each.count for each in planes.values()) > 1:
        is_named = region.plane or (ref.plane, ref.index, ref.frame) != (None, None, None)
        if not is_named and start != FINEST:  # which all boxes on a slide are of
            return "it does not say in which plane and at which index it lies"
        if region.plane is not None and region.plane not in planes:
            return "there is no such plane"
        plane = planes[region.plane or start]
    if region.index is not None and region.index + region.count > plane.count:
        return "there is no such index"
    if gold.mask_size is not None and gold.mask_size != plane.size:
        return "its mask has another size"
    width, height = plane.size
    x0, y0, x1, y1 = region.box_px
    inside = min(x0, y0) >= -ROUNDED and x1 <= width + ROUNDED and y1 <= height + ROUNDED
    return None if inside else "its box passes the edge"
