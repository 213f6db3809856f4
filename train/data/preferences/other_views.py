"""What an episode would have been shown of another patient, or of elsewhere in its own images.

Views are drawn from the original pixels, as every view is. Where a tool draws on its views, such as
an outline, the view that stands in is without it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import Box, Study, open_image
from medgym.metrics.regions import findings
from medgym.trajectory import Trajectory

from .coverage import coverage, image_size, part_shown
from .exchange import Which, chosen_uses

DRAWS = 32
"""How many cases, or places, are tried."""

GetImage = Callable[[str], Image.Image]


def another_patient(case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Case | None:
    """A case of another patient, if possible of the same modality and with another right answer.

    None where none was drawn.
    """
    found: tuple[int, Case] | None = None
    places = (
        rng.permutation(len(cases)) if len(cases) <= DRAWS else rng.integers(len(cases), size=DRAWS)
    )
    for place in places.tolist():
        other: Case = cases[int(place)]
        if (other.source, other.group) == (case.source, case.group) or not other.images:
            continue
        alike = 2 * (other.modality == case.modality) + (other.answer != case.answer)
        if alike == 3:
            return other
        if found is None or alike > found[0]:
            found = alike, other
    return found[1] if found is not None else None


def require_patients(name: str, cases: Sequence[Case]) -> None:
    """Refuse cases of a single patient.

    Raises:
        UserError: there is no other patient whose image could be shown.
    """
    groups = set()
    for case in cases:
        groups.add((case.source, case.group))
        if len(groups) > 1:
            return
    raise UserError(
        f"{name} shows another patient's images, and the cases are of one; fix: give cases of two "
        "patients at least"
    )


def views_of_another(
    trajectory: Trajectory, case: Case, other: Case, which: Which, image: GetImage
) -> dict[str, Image.Image]:
    """The images that the same calls would have shown of another patient, by content hash.

    Each is of the same part, stretched to the frame of the other image.
    """
    studies: dict[int, Study] = {}
    made: dict[str, Image.Image] = {}
    for use in chosen_uses(trajectory, which):
        part = part_shown(case, trajectory, use.view)
        if part is None:
            continue
        place, box_px = part
        number = place % len(other.images)
        if number not in studies:
            studies[number] = open_image(other.images[number])
        study, own = studies[number], image(use.sha256)
        across, down = (
            theirs / ours for theirs, ours in zip(study.size, image_size(case, place), strict=True)
        )
        x0, y0, x1, y1 = box_px
        there = _inside((x0 * across, y0 * down, x1 * across, y1 * down), study.size)
        made[use.sha256] = study.render(there, own.size).convert(own.mode)
    return made


def views_of_elsewhere(
    trajectory: Trajectory, case: Case, image: GetImage, rng: np.random.Generator
) -> dict[str, Image.Image]:
    """Views of places without a finding, for the views by tools that show one, by content hash.

    They have the extent of those that they stand in for. A view is omitted where its image has no
    such place.
    """
    made: dict[str, Image.Image] = {}
    regions = findings(case)
    for use in chosen_uses(trajectory, "views"):
        part = part_shown(case, trajectory, use.view)
        if part is None:
            continue
        own = image(use.sha256)
        if not coverage(regions, *part, own.size).any():
            continue
        place, (x0, y0, x1, y1) = part
        width, height = image_size(case, place)
        for _ in range(DRAWS):
            left = float(rng.integers(0, int(width - (x1 - x0)) + 1))
            top = float(rng.integers(0, int(height - (y1 - y0)) + 1))
            there = _inside((left, top, left + x1 - x0, top + y1 - y0), (width, height))
            if not coverage(regions, place, there, own.size).any():
                study = open_image(case.images[place])
                made[use.sha256] = study.render(there, own.size).convert(own.mode)
                break
    return made


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """A box without what rounding puts outside its image."""
    x0, y0, x1, y1 = box
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1]))
