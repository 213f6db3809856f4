"""Overlaps: exact on boxes, pixel by pixel on masks, soft on gaze."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.cases import Case, Mask, Region
from medgym.imaging.study import Box
from medgym.metrics.extents import shared_extent, union_area
from medgym.metrics.regions import (
    GAZE,
    box_iou,
    findings,
    gaze_regions,
    on_image,
    overlap,
    regions_iou,
)
from medgym.trajectory import Look

SIDE = 12
edges = st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True).map(sorted)
boxes = st.tuples(edges, edges).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))


def painted(*given: Box) -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), bool)
    for x0, y0, x1, y1 in given:
        canvas[int(y0) : int(y1), int(x0) : int(x1)] = True
    return canvas


@given(boxes, boxes)
def test_the_iou_of_boxes_is_that_of_their_pixels(one: Box, other: Box) -> None:
    a, b = painted(one), painted(other)
    assert box_iou(one, other) == pytest.approx((a & b).sum() / (a | b).sum())
    assert box_iou(one, other) == box_iou(other, one)


@given(st.lists(boxes, max_size=5))
def test_the_area_of_boxes_together_counts_no_pixel_twice(given_boxes: list[Box]) -> None:
    assert union_area(given_boxes) == painted(*given_boxes).sum()


def test_areas_are_exact_between_pixels() -> None:
    assert union_area([(0, 0, 0.5, 1), (0.25, 0, 0.75, 1)]) == pytest.approx(0.75)


@given(st.lists(boxes, max_size=4), st.lists(boxes, min_size=1, max_size=3), st.booleans())
def test_an_overlap_is_that_of_the_pixels(seen: list[Box], gold: list[Box], masked: bool) -> None:
    regions = [
        Region(label="x", box_px=box, mask=Mask.of(painted(box)) if masked else None)
        for box in gold
    ]
    found = overlap([Look("zoom", 0, box) for box in seen], regions)
    a, b = painted(*seen), painted(*gold)
    assert (found.shared, found.gold, found.looked) == ((a & b).sum(), b.sum(), a.sum())
    assert found.iou == pytest.approx((a & b).sum() / (a | b).sum())
    assert found.coverage == pytest.approx((a & b).sum() / b.sum())
    assert regions_iou([Region(label="y", box_px=box) for box in seen], regions) == pytest.approx(
        found.iou
    )


def test_images_are_kept_apart() -> None:
    gold = [Region(label="x", box_px=(0, 0, 4, 4), image=1)]
    found = overlap([Look("zoom", 0, (0, 0, 4, 4)), Look("zoom", 1, (0, 0, 4, 2))], gold)
    assert (found.shared, found.gold, found.looked) == (8, 16, 24)


def test_nothing_overlaps_with_nothing() -> None:
    assert (overlap([], []).iou, overlap([], []).coverage, regions_iou([], [])) == (0, 0, 0)


@pytest.mark.parametrize("image", [0, 2])
def test_a_gaze_map_is_carried_by_regions(image: int) -> None:
    heat = np.zeros((20, 30))
    heat[5:10, 5:10] = 3.0
    heat[5:10, 10:15] = 1.5
    regions = gaze_regions(heat, levels=4, image=image)
    assert {(r.label, r.image) for r in regions} == {(GAZE, image)}
    whole = overlap([Look("zoom", image, (0, 0, 30, 20))], regions)
    assert whole.gold == whole.shared == pytest.approx((heat / 3).sum())
    warm = overlap([Look("zoom", image, (10, 0, 30, 20))], regions)
    assert warm.coverage == pytest.approx(1 / 3)
    hot = overlap([Look("zoom", image, (5, 5, 10, 10))], regions)
    assert (hot.shared, hot.iou) == (25, pytest.approx(25 / 37.5))


def test_gaze_is_quantised_and_its_scale_does_not_count() -> None:
    heat = np.random.default_rng(0).random((16, 16))
    whole = [Look("zoom", 0, (0, 0, 16, 16))]
    rough, fine = (overlap(whole, gaze_regions(heat * 7, levels=n)).gold for n in (2, 64))
    assert fine == pytest.approx((heat / heat.max()).sum(), rel=0.01)
    assert rough == pytest.approx(fine, rel=0.1)
    assert gaze_regions(np.zeros((4, 4))) == ()


def test_gaze_is_no_finding() -> None:
    lesion = Region(label="lesion", box_px=(0, 0, 1, 1))
    case = Case(
        id="a/b/c", images=(), question="?", answer="x", group="g", source="a", split="b",
        regions=(lesion, lesion.model_copy(update={"label": GAZE})),
    )  # fmt: skip
    assert findings(case) == (lesion,)


def test_each_level_of_a_gaze_map_is_where_the_heat_reaches_its_middle() -> None:
    heat = np.zeros((6, 8))
    heat[1:5, 2:7] = 0.125  # exactly the middle of the first of four steps of a peak of 1
    heat[2:4, 3:5] = 1.0
    for scale in (1.0, 0.25, 3.0):
        regions = gaze_regions(heat * scale)
        assert [region.box_px for region in regions] == [(2, 1, 7, 5)] + [(3, 2, 5, 4)] * 3
        assert {(region.label, region.image) for region in regions} == {(GAZE, 0)}
        assert [int(r.mask.array().sum()) for r in regions if r.mask] == [20, 4, 4, 4]


def test_gaze_is_the_gold_where_there_is_one_and_findings_are_not() -> None:
    gaze = Region(label=GAZE, box_px=(0, 0, 4, 4))
    finding = Region(label="x", box_px=(6, 6, 8, 8))
    found = overlap([Look("zoom", 0, (0, 0, 8, 8))], [finding, gaze])
    assert (found.shared, found.gold, found.looked) == (16, 16, 64)


def test_regions_on_different_images_do_not_overlap() -> None:
    one, other = (Region(label="x", box_px=(0, 0, 4, 4), image=image) for image in (0, 1))
    assert regions_iou([one], [one, other]) == 0.5
    assert regions_iou([one], [other]) == 0


def a_slab(first: int, count: int, box: Box = (0, 0, 4, 4), plane: str = "axial") -> Region:
    return Region(label="x", box_px=box, plane=plane, index=first, count=count)


@pytest.mark.parametrize(
    ("one", "other", "iou", "dice"),
    [
        ([a_slab(4, 1)], [a_slab(3, 3)], 1 / 3, 1 / 2),  # was 1: depth did not count
        ([a_slab(3, 3)], [a_slab(3, 3)], 1, 1),
        ([a_slab(0, 4)], [a_slab(2, 4)], 2 / 6, 4 / 8),
        ([a_slab(0, 2)], [a_slab(2, 2)], 0, 0),
        ([a_slab(0, 2), a_slab(2, 2)], [a_slab(0, 4)], 1, 1),
        ([a_slab(0, 2), a_slab(1, 2)], [a_slab(0, 3)], 1, 1),  # what overlaps counts once
        ([a_slab(0, 4, (0, 0, 4, 2))], [a_slab(2, 4)], 16 / (32 + 64 - 16), 32 / 96),
        ([a_slab(3, 3, plane="coronal")], [a_slab(3, 3)], 0, 0),
        ([Region(label="y", box_px=(0, 0, 4, 2))], [a_slab(3, 3)], 1 / 2, 2 / 3),
        ([], [a_slab(3, 3)], 0, 0),
    ],
)
def test_depth_counts(one: list[Region], other: list[Region], iou: float, dice: float) -> None:
    found = shared_extent(one, other)
    assert (found.iou, found.dice) == (pytest.approx(iou), pytest.approx(dice))
    assert regions_iou(other, one) == pytest.approx(iou)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), boxes, st.booleans()), max_size=4))
def test_what_slabs_share_is_that_of_their_voxels(drawn: list[tuple[int, int, Box, bool]]) -> None:
    sides: tuple[list[Region], list[Region]] = [], []
    voxels = np.zeros((2, 12, SIDE, SIDE), bool)
    for number, (first, count, box, masked) in enumerate(drawn):
        region = a_slab(first, count, box)
        if masked:
            region = region.model_copy(update={"mask": Mask.of(painted(box))})
        sides[number % 2].append(region)
        voxels[number % 2, first : first + count] |= painted(box)
    found = shared_extent(*sides)
    assert found.shared == (voxels[0] & voxels[1]).sum()
    assert (found.one, found.other) == (voxels[0].sum(), voxels[1].sum())


def test_a_mask_is_compared_with_a_box_that_reaches_beyond_its_image() -> None:
    gold = Region(label="x", box_px=(0, 0, 4, 4), mask=Mask.of(painted((0, 0, 4, 4))))
    for box in ((-4.0, 0.0, 4.0, 4.0), (0.0, 0.0, 4.0, 8.0), (0.0, -2.0, 40.0, 40.0)):
        wide = Region(label="y", box_px=box)
        assert shared_extent([wide], [gold]).shared == 16
        assert regions_iou([wide], [gold]) == pytest.approx(16 / union_area([box]))


def test_regions_are_cut_to_an_image() -> None:
    flat = Region(label="x", box_px=(0, 0, 1, 1))
    found = on_image([a_slab(3, 3), a_slab(7, 2), flat], "axial", 4)
    assert [(each.index, each.count) for each in found] == [(4, 1), (None, 1)]
    assert on_image([a_slab(3, 3)], "coronal", 4) == ()
