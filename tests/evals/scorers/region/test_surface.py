"""HD95 and NSD: known distances, and in which unit they are."""

import numpy as np
import pytest

from medgym.cases import Case, Mask, Region, open_cases
from medgym.evals.scorers.region.surface import spacing_mm, surface
from medgym.imaging.study import ImageRef

FLAT = open_cases("phantom,look=ct,question=kind:test[:1]")[0]
"""0.75 mm between rows and between columns."""

DEEP = open_cases("phantom,look=ct-volume,size=128,depth=8,question=kind:test[:1]")[0]
"""48 mm between axial images, 3 mm between rows and columns."""


def a_box(x0: float, y0: float, x1: float, y1: float, **place: object) -> Region:
    return Region.model_validate({"label": "x", "box_px": (x0, y0, x1, y1), **place})


NOWHERE = FLAT.model_copy(update={"images": (ImageRef(uri="file:not/here.png"),)})


@pytest.mark.parametrize(("case", "unit", "pixel"), [(FLAT, "mm", 0.75), (NOWHERE, "pixels", 1)])
def test_a_box_that_is_moved_is_off_by_so_much(case: Case, unit: str, pixel: float) -> None:
    gold = [a_box(100, 100, 140, 140)]
    for moved in (0, 1, 5):
        found = surface(case, [a_box(100 + moved, 100, 140 + moved, 140)], gold)
        assert found is not None
        assert found.unit == unit
        assert found.hd95 == pytest.approx(moved * pixel)
        if moved <= 1:
            assert found.nsd == 1  # within 2 mm, or 2 pixels
        else:
            assert 0.3 < found.nsd < 0.8


def test_masks_have_outlines_of_their_own() -> None:
    rows, columns = np.mgrid[:128, :128]
    disk = (rows - 64) ** 2 + (columns - 64) ** 2 <= 20**2
    larger = (rows - 64) ** 2 + (columns - 64) ** 2 <= 24**2
    one, other = (a_box(40, 40, 90, 90, mask=Mask.of(inside)) for inside in (disk, larger))
    found = surface(NOWHERE, [one], [other])
    assert found is not None
    assert found.hd95 == pytest.approx(4, abs=0.5)


def test_in_a_volume_the_distance_between_images_counts() -> None:
    place = {"plane": "axial"}
    gold = [a_box(40, 40, 80, 80, index=2, count=3, **place)]
    assert spacing_mm(DEEP, gold[0], deep=True) == (48.0, 3.0, 3.0)
    one_image_off = surface(DEEP, [a_box(40, 40, 80, 80, index=3, count=3, **place)], gold)
    assert one_image_off is not None
    assert (one_image_off.hd95, one_image_off.unit) == (pytest.approx(48), "mm")
    same_image = surface(DEEP, [a_box(42, 40, 82, 80, index=2, count=1, **place)],
                         [a_box(40, 40, 80, 80, index=2, count=1, **place)])  # fmt: skip
    assert same_image is not None
    assert same_image.hd95 == pytest.approx(6)


def test_there_is_no_distance_between_planes_nor_to_what_is_too_far() -> None:
    gold = [a_box(40, 40, 80, 80, plane="axial", index=2)]
    assert surface(DEEP, [a_box(40, 4, 80, 8, plane="coronal", index=2)], gold) is None
    assert surface(NOWHERE, [a_box(0, 0, 9_000_000, 9_000_000)], [a_box(0, 0, 5, 5)]) is None
    assert surface(FLAT, [], [a_box(0, 0, 5, 5)]) is None
    assert surface(FLAT, [a_box(0, 0, 0.2, 0.2)], [a_box(0, 0, 5, 5)]) is None


def test_what_lies_outside_of_the_image_does_not_count() -> None:
    gold = [a_box(100, 100, 140, 140)]
    within = surface(FLAT, [a_box(90, 90, 512, 512)], gold)
    assert within == surface(FLAT, [a_box(90, 90, 7_000, 7_000)], gold)
    assert surface(FLAT, [a_box(600, 600, 900, 900)], gold) is None
