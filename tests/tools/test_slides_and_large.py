"""Tools on images that are not decoded whole, and on large ones."""

from typing import Any

import numpy as np
import pytest
import tifffile

from medgym import load
from medgym.errors import ToolError
from medgym.imaging.opened import opened_image
from medgym.imaging.study import ImageRef, Study
from medgym.tool import ToolResult
from medgym.workspace import Workspace


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """512 x 384 pixels of 0.5 by 1 micrometre, and two coarser levels."""
    y, x = np.mgrid[:384, :512]
    base = np.stack([x // 2, y // 2, (x // 7 + y // 5) % 2 * 200], axis=-1).astype(np.uint8)
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    with tifffile.TiffWriter(path) as file:
        for number in range(3):
            file.write(
                base[:: 2**number, :: 2**number], photometric="rgb", compression="deflate",
                tile=(64, 64), subfiletype=int(number > 0), resolution=(20000, 10000),
                resolutionunit="CENTIMETER",
            )  # fmt: skip
    return Workspace([opened_image(ImageRef(uri=f"file:{path}"))], view_size=64)


def called(workspace: Workspace, name: str, **arguments: Any) -> ToolResult:
    tool = load("tools", name)()
    result: ToolResult = tool(tool.parse({"view": 0, **arguments}), workspace)
    return result


def test_a_slide_is_measured_and_enhanced(slide: Workspace) -> None:
    points = [[0, 0], [500, 500]]
    length = called(slide, "measure", kind="length", points=points)
    assert length.data["length_mm"] == pytest.approx(np.hypot(256 * 0.0005, 192 * 0.001))
    assert length.text == "Length 0.231 mm."
    values = called(slide, "measure", kind="intensity", box=[0, 0, 250, 250]).data
    assert values["mean"][:2] == pytest.approx([31.5, 23.5])
    (view,) = called(slide, "enhance", how="invert", box=[0, 0, 250, 250]).views
    assert view.box_px == (0, 0, 128, 96)
    assert (np.asarray(view.picture)[0, 0, :2] > 240).all()
    assert called(slide, "annotate", point=[10, 10]).views


def test_a_slide_is_no_body_with_two_sides(slide: Workspace) -> None:
    with pytest.raises(ToolError, match="expected a view of an axial or coronal one"):
        called(slide, "mirror", box=[0, 0, 250, 250])
    with pytest.raises(ToolError, match="expected a view of an image with several frames"):
        called(slide, "frame", index=1)


def test_a_large_image_is_enhanced_as_it_is_shown() -> None:
    pixels = np.full((6000, 6000), 127, np.uint8)
    pixels[:3000] = 60
    workspace = Workspace([Study(pixels)], view_size=64)
    (view,) = called(workspace, "enhance", how="invert").views
    shown = np.asarray(view.picture)[..., 0]
    assert np.ptp(shown[:31]) == 0
    assert shown[0, 0] == 255 - 60
    with pytest.raises(ToolError, match="region of 6000 x 6000 pixels"):
        called(workspace, "measure", kind="intensity", box=[0, 0, 1000, 1000])
    found = called(workspace, "measure", kind="intensity", box=[0, 900, 1000, 1000]).data
    assert (found["mean"], found["sd"]) == (127, 0)
