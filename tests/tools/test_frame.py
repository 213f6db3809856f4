"""Frames of a clip: by index and by time, several at once, and what changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medgym import OpenedImage
from medgym.errors import ToolError
from medgym.imaging.opened import ImagePlace, opened_image
from medgym.imaging.study import ImageRef, Study
from medgym.testing import PlainVolume
from medgym.tool import ToolResult
from medgym.tools.frame import Frame
from medgym.workspace import Workspace


def clip(tmp_path: Path, frames: int = 6, **attributes: Any) -> Workspace:
    """A film of a bright square that moves to the right, a pixel column for each frame."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    pixels = np.zeros((frames, 16, 24), np.uint8)
    for number in range(frames):
        pixels[number, 4:8, 2 * number : 2 * number + 4] = 200
    dataset.PixelData = pixels.tobytes()
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 16, 24, frames
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
    dataset.Modality = "XA"
    for name in ("PixelPaddingValue", "SmallestImagePixelValue", "ImagePositionPatient"):
        if name in dataset:
            del dataset[name]
    dataset.WindowCenter, dataset.WindowWidth = "128", "256"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(tmp_path / "clip.dcm")
    ref = ImageRef(uri=f"file:{tmp_path / 'clip.dcm'}", plane="frame", index=0)
    return Workspace([opened_image(ref)], view_size=48)


def called(workspace: Workspace, view: int = 0, **arguments: Any) -> ToolResult:
    tool = Frame()
    result = tool(tool.parse({"view": view, **arguments}), workspace)
    for shown in result.views:
        workspace.add(shown, "frame")
    return result


def test_a_frame_is_shown_by_index_and_by_time(tmp_path: Path) -> None:
    workspace = clip(tmp_path, FrameTime="40")
    result = called(workspace, index=3)
    assert result.text == "Shown at 0.120 s of 0.200 s."
    assert (workspace.view(1).plane, workspace.view(1).index) == ("frame", 3)
    for seconds, index in ((0.0, 0), (0.04, 1), (0.079, 1), (0.12, 3), (0.239, 5)):
        assert called(workspace, seconds=seconds).data["indices"] == [index]
    with pytest.raises(ToolError, match=r"from 0 to 0\.20 s"):
        called(workspace, seconds=0.25)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"FrameTimeVector": ["0", "10", "20", "30", "40", "50"]}, 0.06),
        ({"CineRate": "50"}, 0.06),
        ({"RecommendedDisplayFrameRate": "25"}, 0.12),
    ],
)
def test_the_time_is_what_the_file_says(tmp_path: Path, said: Any, seconds: float) -> None:
    result = called(clip(tmp_path, **said), index=3)
    assert result.data["seconds"] == [pytest.approx(seconds)]


def test_a_clip_without_times_has_indices_alone(tmp_path: Path) -> None:
    workspace = clip(tmp_path)
    assert called(workspace, index=1).text == ""
    with pytest.raises(ToolError, match="expected index"):
        called(workspace, seconds=0.1)


def test_the_region_stays_and_several_frames_are_smaller_views(tmp_path: Path) -> None:
    workspace = clip(tmp_path)
    workspace.add(workspace.look(0, (0, 0, 12, 12), enlarge=True, made_by="zoom", plane="frame"))
    views = called(workspace, view=1, index=1, count=4).views
    assert [view.index for view in views] == [1, 2, 3, 4]
    assert {view.box_px for view in views} == {(0, 0, 12, 12)}
    assert {view.size for view in views} == {(24, 24)}, "as many pixels as one view"
    assert views[0].picture.getpixel((7, 11)) == (200,) * 3
    assert [view.index for view in called(workspace, index=0, count=3, step=2).views] == [0, 2, 4]


def test_the_change_is_bright_where_it_is_brighter_now(tmp_path: Path) -> None:
    workspace = clip(tmp_path)
    result = called(workspace, index=2, since=0)
    (view,) = result.views
    assert (view.index, view.box_px) == (2, (0, 0, 24, 16))
    middle = [view.picture.getpixel((2 * x + 1, 11)) for x in (1, 6, 20)]
    assert [grey[0] for grey in middle] == [0, 255, 128]
    assert "since frame 0" in result.text


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({}, "expected either index or seconds"),
        ({"index": 1, "seconds": 1.0}, "expected either index or seconds"),
        ({"index": 6}, "plane frame has 0 to 5"),
        ({"index": -1}, "plane frame has 0 to 5"),
        ({"index": 10**30}, "plane frame has 0 to 5"),
        ({"index": 4, "count": 3}, "plane frame has 0 to 5"),
        ({"index": 4, "count": 3, "step": 10**30}, "plane frame has 0 to 5"),
        ({"index": 0, "count": 10}, "less than or equal to 9"),
        ({"index": 0, "count": 2, "since": 1}, "either count or since"),
        ({"index": 1, "since": 1}, "another index in since"),
        ({"index": 1, "since": 9}, "plane frame has 0 to 5"),
        ({"seconds": float("nan")}, "finite number"),
        ({"seconds": -1.0}, "from 0 to"),
        ({"view": 9, "index": 1}, "expected 0 to 0"),
    ],
)
def test_what_cannot_be_shown_says_what_was_expected(
    tmp_path: Path, call: Any, expected: str
) -> None:
    with pytest.raises(ToolError) as error:
        called(clip(tmp_path, FrameTime="40"), **call)
    assert expected in str(error.value)


def test_slices_and_single_images_are_no_clip() -> None:
    volume = PlainVolume(np.zeros((5, 4, 6), np.float32))
    opened = OpenedImage(volume, ImagePlace("axial", 1), volume.image("axial", 1))
    for image in (opened, Study(np.zeros((9, 9), np.uint8))):
        with pytest.raises(ToolError, match="expected a view of an image with several frames"):
            called(Workspace([image], view_size=48), index=0)
