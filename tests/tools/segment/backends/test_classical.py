"""`segment?backend=classical`: the lesions of phantoms of all looks, and odd pictures."""

import random
from statistics import median

import numpy as np
import pytest

from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Study
from medgym.tool import load_tools
from medgym.tools.segment.backends.classical import ClassicalSegmenter
from medgym.tools.segment.request import Segmentation, SegmentPrompt, SegmentRequest
from medgym.workspace import Workspace
from tests.tools.segment.phantoms import lesions

LOOKS = {
    "radiograph": 256, "ct": 256, "fundus": 256, "histology": 256,
    "ct-volume": 128, "mri-volume": 128, "ultrasound-clip": 128, "slide": 1024,
}  # fmt: skip
"""Each look with an image side that is drawn quickly."""


def test_lesions_of_all_looks_are_found_from_a_box_and_from_a_point() -> None:
    """Over phantoms of usual size each look has medians above 0.9. Here is one small one of
    each, in which a pixel more or less counts for more."""
    boxes, points = {}, {}
    for look, side in LOOKS.items():
        (lesion,) = lesions(f"phantom,look={look},question=kind,size={side}:train[:1]")
        chance = random.Random(0)
        prompts = lesion.box_prompt(chance), lesion.point_prompt(chance)
        box, point = ClassicalSegmenter().segment([lesion.request(each) for each in prompts])
        boxes[look], points[look] = lesion.dice(box), lesion.dice(point)
    assert median(boxes.values()) >= 0.9, boxes
    assert median(points.values()) >= 0.85, points
    assert min(boxes.values()) >= 0.75, boxes


def request(study: Study, **prompt: object) -> SegmentRequest:
    image = OpenedImage.of(study)
    width, height = study.size
    view = (0.0, 0.0, float(width), float(height))
    return SegmentRequest(image, image.place, view, SegmentPrompt(**prompt))  # type: ignore[arg-type]


def found(study: Study, **prompt: object) -> Segmentation:
    (result,) = ClassicalSegmenter().segment([request(study, **prompt)])
    assert result is not None
    return result


def two_discs() -> Study:
    rows, columns = np.mgrid[:120, :200]
    pixels = np.full((120, 200), 60.0)
    for x in (60, 110):
        pixels[(columns - x) ** 2 + (rows - 60) ** 2 <= 18**2] = 150
    pixels[55:65, 60:110] = 150  # a bridge between them
    return Study((pixels + np.random.default_rng(0).normal(0, 3, pixels.shape)).astype(np.uint8))


def test_points_beside_and_a_scribble_say_how_much_is_meant() -> None:
    study = two_discs()
    both = found(study, scribble_px=((50.0, 60.0), (120.0, 60.0)))
    assert covers(both, 60)
    assert covers(both, 110)
    point = {"points_px": ((60.0, 60.0), (110.0, 60.0)), "labels": (True, False)}
    one = found(study, **point)
    assert covers(one, 60)
    assert not covers(one, 110)
    inside = found(study, box_px=(30.0, 30.0, 140.0, 90.0), **point)
    assert covers(inside, 60)
    assert not covers(inside, 110)


def covers(result: Segmentation, x: int) -> bool:
    from medgym.tools.segment.measure import Runs

    return bool(Runs.of(result).within((x, 60, x + 1, 61))[0, 0])


def test_it_is_less_sure_of_what_stands_apart_less() -> None:
    rows, columns = np.mgrid[:128, :128]
    disc = (columns - 64) ** 2 + (rows - 64) ** 2 <= 20**2
    noise = np.random.default_rng(0).normal(0, 10, disc.shape)
    scores = [
        found(Study((100 + contrast * disc + noise).clip(0, 255).astype(np.uint8)),
              box_px=(38.0, 38.0, 90.0, 90.0)).score
        for contrast in (25, 50, 100)
    ]  # fmt: skip
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] - 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 2000), (2, 2)])
def test_odd_shapes_are_answered(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8) * 255
    height, width = shape
    study = Study(pixels)
    whole = (0.0, 0.0, float(width), float(height))
    prompts = ({"box_px": whole}, {"points_px": ((0.5, 0.5),), "labels": (True,)})
    for prompt in prompts:
        (result,) = ClassicalSegmenter().segment([request(study, **prompt)])
        assert result is None or result.mask.any()


def test_a_large_image_is_worked_on_at_a_reduced_size() -> None:
    pixels = np.zeros((6000, 8000), np.uint8)
    pixels[1000:4000, 2000:6000] = 180
    result = found(Study(pixels), box_px=(1500.0, 500.0, 6500.0, 4500.0))
    assert max(result.mask.shape) < 400
    x0, y0, x1, y1 = result.region_px
    share = result.mask.mean() * (x1 - x0) * (y1 - y0) / (3000 * 4000)
    assert share == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("side", [10, 20, 41])
def test_a_square_without_noise_is_found_to_the_pixel(side: int) -> None:
    """Nothing varies outside, so that the blur of the edge looks like the inside."""
    pixels = np.full((100, 100), 60, np.uint8)
    pixels[20 : 20 + side, 20 : 20 + side] = 200
    workspace = Workspace([Study(pixels)], view_size=50)
    (segment,) = load_tools(["segment"])
    box = [150, 150, 250 + 10 * side, 250 + 10 * side]
    found = segment(segment.parse({"view": 0, "box": box}), workspace)
    assert found.data["box_px"] == [20, 20, 20 + side, 20 + side]
    assert found.data["area_px"] == side**2
