"""The opposite region: as far from the midline, in the same rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import data_dir  # the folder of pictures that scikit-image ships

from medgym import OpenedImage
from medgym.errors import ToolError
from medgym.imaging.opened import ImagePlace, opened_image
from medgym.imaging.study import ImageRef, Study
from medgym.testing import PlainVolume
from medgym.tool import ToolResult
from medgym.tools.mirror import Mirror, opposite
from medgym.workspace import Workspace


def called(workspace: Workspace, view: int = 0, **arguments: Any) -> ToolResult:
    tool = Mirror()
    return tool(tool.parse({"view": view, **arguments}), workspace)


def body(shift: int, width: int = 160) -> Study:
    """A symmetric trunk with two lungs, whose midline is at column 80 + `shift`."""
    y, x = np.mgrid[:120, :width] + 0.5
    away = np.abs(x - 80 - shift)
    grey = np.where((away / 60) ** 2 + ((y - 60) / 50) ** 2 < 1, 150, 5)
    grey[((away - 28) / 16) ** 2 + ((y - 55) / 30) ** 2 < 1] = 40
    noise = np.random.default_rng(0).normal(0, 6, grey.shape)
    return Study(np.clip(grey + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("shift", [-15, 0, 9])
def test_the_midline_of_a_body_is_found_where_it_is(shift: int) -> None:
    result = called(Workspace([body(shift)], view_size=64), box=[250, 300, 400, 600])
    assert result.data["midline_px"] == pytest.approx(80 + shift, abs=0.5)
    assert result.data["symmetry"] > 0.7
    first, second = result.views
    assert first.size == second.size
    middle = result.data["midline_px"]
    assert second.box_px == (
        2 * middle - first.box_px[2], first.box_px[1],
        2 * middle - first.box_px[0], first.box_px[3],
    )  # fmt: skip


def test_a_bright_spot_is_no_midline() -> None:
    pixels = body(9).pixels // 5
    y, x = np.mgrid[:120, :160]
    pixels[(x - 50) ** 2 + (y - 50) ** 2 < 64] = 250
    result = called(Workspace([Study(pixels)], view_size=64), box=[250, 300, 400, 600])
    assert result.data["midline_px"] == pytest.approx(89, abs=0.5)


@pytest.mark.parametrize(("name", "middle"), [("phantom.png", 200), ("retina.jpg", 705)])
def test_the_midline_of_real_pictures(name: str, middle: float) -> None:
    opened = opened_image(ImageRef(uri=f"file:{data_dir}/{name}"))
    result = called(Workspace([opened], view_size=64), box=[100, 300, 300, 500])
    assert result.data["midline_px"] == pytest.approx(middle, abs=2)


def test_the_middle_of_the_image_is_exact() -> None:
    result = called(Workspace([body(9)], view_size=64), box=[0, 0, 250, 500], about="image")
    assert result.data["midline_px"] == 80
    assert [view.box_px for view in result.views] == [(0, 0, 40, 60), (120, 0, 160, 60)]


@given(
    st.tuples(st.integers(0, 99), st.integers(1, 100)).filter(lambda x: x[0] < x[1]),
    st.integers(1, 199),
)
def test_both_regions_mirror_each_other_inside_the_image(x: tuple[int, int], twice: int) -> None:
    pair = opposite((float(x[0]), 2.0, float(x[1]), 9.0), twice / 2, 100)
    if pair is None:
        assert twice - x[0] <= 0 or twice - x[1] >= 100
        return
    (x0, _, x1, _), (left, _, right, _) = pair
    assert 0 <= left < right <= 100
    assert x[0] <= x0 < x1 <= x[1]
    assert (x0 + right, x1 + left) == (twice, twice)
    assert opposite(pair[1], twice / 2, 100) == (pair[1], pair[0])


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"box": [9, 9, 1, 1]}, "0 <= x0 < x1 <= 1000"),
        ({"box": [0, 0, 1001, 9]}, "0 <= x0 < x1 <= 1000"),
        ({"box": [0, 0, float("inf"), 9]}, "finite number"),
        ({"box": [0, 0, 9]}, "at least 4 items"),
        ({"box": [900, 0, 990, 90]}, "expected a box closer to the midline"),
        ({"box": [0, 0, 9, 9], "about": "spine"}, "'body' or 'image'"),
        ({"view": 3, "box": [0, 0, 9, 9]}, "expected 0 to 0"),
    ],
)
def test_what_cannot_be_mirrored_says_what_was_expected(call: Any, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        called(Workspace([body(-35)], view_size=64), **call)
    assert expected in str(error.value)


def test_noise_and_a_flat_image_have_no_midline() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90)).astype(np.uint8)
    for pixels in (noise, np.full((9, 9), 7, np.uint8), np.zeros((1, 1), np.uint8)):
        with pytest.raises(ToolError, match='expected about "image"'):
            called(Workspace([Study(pixels)], view_size=64), box=[0, 0, 500, 500])


def test_only_planes_with_a_left_and_a_right_are_mirrored() -> None:
    values = np.random.default_rng(0).normal(0, 99, (5, 4, 6)).astype(np.float32)
    volume = PlainVolume(values)
    opened = OpenedImage(volume, ImagePlace("axial", 1), volume.image("axial", 1))
    workspace = Workspace([opened], view_size=64)
    assert called(workspace, box=[0, 0, 500, 500], about="image").views[1].place.plane == "axial"
    workspace.images[0].planes = {"sagittal": workspace.images[0].planes["axial"]}
    workspace.views[0].place = ImagePlace("sagittal", 1)
    with pytest.raises(ToolError, match="expected a view of an axial or coronal one"):
        called(workspace, box=[0, 0, 500, 500], about="image")
