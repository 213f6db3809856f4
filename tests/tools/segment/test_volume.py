"""`segment` through a volume: what is followed, what it measures, and where it ends."""

from typing import Any

import numpy as np
import pytest

from medgym.case_images import opened_images
from medgym.cases import Mask, open_cases
from medgym.errors import ToolError
from medgym.gold_tool import Gold
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.regions import Region
from medgym.testing import PlainVolume
from medgym.tool import ToolResult, load_tools
from medgym.workspace import Workspace

Z, Y, X = np.mgrid[:12, :28, :28]
BALL = (2.0 * (Z - 6)) ** 2 + (Y - 14.0) ** 2 + (X - 13.0) ** 2 <= 9**2
"""A ball with a radius of 9 mm, in voxels of 1 x 1 x 2 mm."""


def workspace() -> Workspace:
    noise = np.random.default_rng(0).normal(0, 10, BALL.shape)
    values = (np.where(BALL, 60.0, -60.0) + noise).astype(np.float32)
    values[0, 4:10, 20:27] = 60  # something else, on another slice
    volume = PlainVolume(values)
    start = ImagePlace("axial", 5)
    return Workspace([OpenedImage(volume, start, volume.image("axial", 5))], view_size=64)


def called(**where: Any) -> ToolResult:
    (tool,) = load_tools(["segment"])
    return tool(tool.parse({"view": 0, **where}), workspace())


def test_a_ball_is_followed_from_slice_to_slice() -> None:
    result = called(box=[80, 120, 860, 900], through=True)
    found = np.zeros(BALL.shape, bool)
    for each in result.data["masks"]:
        found[each["index"]] = Mask.model_validate(each["mask"]).array()
    first, last = result.data["slices"]
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == set(range(first, last + 1))
    assert 2 * (found & BALL).sum() / (found.sum() + BALL.sum()) > 0.9
    assert result.data["volume_ml"] == pytest.approx(found.sum() * 2 / 1000)
    assert result.data["length_mm"] == pytest.approx(19, abs=2)
    assert result.data["index"] == result.views[0].index
    assert f"on axial {first} to {last}; longest diameter" in result.text
    assert result.text.startswith(f"Volume {result.data['volume_ml']:.3g} ml, ")


@pytest.mark.parametrize(
    "spec",
    [
        "look=ct-volume,question=kind,size=128:test[3:4]",
        "look=ultrasound-clip,size=128:test[2:3]",
        # An organ with an outline like the lesion's goes on where that ends.
        "look=mri-volume,question=kind:train[1:2]",
    ],
)
def test_a_lesion_is_followed_to_its_ends_and_no_farther(spec: str) -> None:
    (case,) = open_cases(f"phantom,{spec}")
    (lesion,) = case.regions
    space = Workspace(opened_images(case), view_size=64)
    show, segment = load_tools(["slice", "segment"])
    args = show.parse({"view": lesion.image, "plane": lesion.plane, "index": lesion.middle})
    space.add(show(args, space).views[0])
    width, _ = space.images[lesion.image].planes[lesion.plane or ""].size
    x0, y0, x1, y1 = (edge * 1000 / width for edge in lesion.box_px)
    box = [x0 - 20, y0 - 20, x1 + 20, y1 + 20]
    last = len(space.views) - 1
    result = segment(segment.parse({"view": last, "box": box, "through": True}), space)
    assert lesion.index is not None
    assert result.data["slices"] == [lesion.index, lesion.index + lesion.count - 1]
    assert lesion.mask is not None
    gold, voxels = lesion.count * lesion.mask.array().sum(), result.data["voxels"]
    assert voxels == pytest.approx(gold, rel=0.1)


def test_on_one_slice_values_are_in_hounsfield_units() -> None:
    result = called(box=[80, 120, 860, 900])
    assert result.data["unit"] == "HU"
    assert result.data["mean_inside"] == pytest.approx(60, abs=4)
    assert result.data["mean_around"] == pytest.approx(-60, abs=12)
    assert "mean HU 6" in result.text or "mean HU 5" in result.text


def test_the_oracle_follows_gold() -> None:
    mask = Mask.of(BALL[6])
    box = (4.0, 5.0, 23.0, 24.0)
    gold = Gold((Region(label="x", box_px=box, mask=mask, plane="axial", index=4, count=5),))
    (tool,) = load_tools(["segment?backend=oracle"])
    args = tool.parse({"view": 0, "point": [450, 500], "through": True})
    result = tool.with_gold(args, workspace(), gold)
    assert result.data["slices"] == [4, 8]
    assert result.data["voxels"] == 5 * BALL[6].sum()


def test_there_is_no_way_through_a_single_image() -> None:
    from medgym.imaging.study import Study

    (tool,) = load_tools(["segment"])
    space = Workspace([Study(np.zeros((9, 9), np.uint8))], view_size=9)
    with pytest.raises(ToolError, match="expected it left out"):
        tool(tool.parse({"view": 0, "point": [5, 5], "through": True}), space)
