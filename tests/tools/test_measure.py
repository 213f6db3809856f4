"""Measures are those of the patient: against known spacings, corners and values."""

import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from skimage.draw import polygon2mask

from medgym import Slab
from medgym.errors import ToolError
from medgym.imaging.opened import ImagePlace, opened_image
from medgym.imaging.study import ImageRef, Study
from medgym.testing import PlainVolume
from medgym.tool import ToolResult
from medgym.tools.measure import Measure, plain
from medgym.workspace import Workspace

GREY = np.random.default_rng(3).integers(0, 256, (120, 200)).astype(np.uint8)


def measured(workspace: Workspace, kind: str, view: int = 0, **where: Any) -> ToolResult:
    tool = Measure()
    result = tool(tool.parse({"view": view, "kind": kind, **where}), workspace)
    assert not result.views
    return result


def of_file(path: Any, **named: Any) -> Workspace:
    return Workspace([opened_image(ImageRef(uri=f"file:{path}", **named))], view_size=448)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm"])
def test_lengths_are_pixels_times_the_spacing_of_the_file(name: str) -> None:
    path = get_testdata_file(name)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    row, column = (float(each) for each in header.PixelSpacing)
    workspace = of_file(path)
    ends = [[0, 250], [500, 250], [500, 1000]]
    across = measured(workspace, "length", points=ends[:2]).data
    assert across["length_mm"] == pytest.approx(header.Columns / 2 * column, rel=1e-9)
    slanted = measured(workspace, "length", points=[ends[0], ends[2]]).data
    wanted = math.hypot(header.Columns / 2 * column, header.Rows * 0.75 * row)
    assert slanted["length_mm"] == pytest.approx(wanted, rel=1e-9)
    area = measured(workspace, "area", points=ends).data
    assert area["area_mm2"] == pytest.approx(
        header.Columns * column * header.Rows * row * 0.75 / 4, rel=1e-9
    )
    assert across["spacing_origin"] == "patient"


def test_a_zoomed_view_measures_the_same() -> None:
    workspace = Workspace([Study(GREY, (0.5, 0.25))], view_size=64)
    workspace.add(workspace.look(0, (20, 30, 120, 90), enlarge=True, made_by="zoom"))
    # Pixel corners (20, 30) and (120, 90): 25 mm across and 30 mm down.
    result = measured(workspace, "length", view=1, points=[[0, 0], [1000, 1000]])
    assert result.data["length_mm"] == pytest.approx(math.hypot(25, 30))
    assert result.text == "Length 39.1 mm."
    same = measured(workspace, "length", points=[[100, 250], [600, 750]])
    assert same.data["length_mm"] == pytest.approx(result.data["length_mm"])


def test_angles_are_those_at_the_patient() -> None:
    workspace = Workspace([Study(GREY, (0.5, 0.25))], view_size=64, coordinates="pixel")
    wide, high = workspace.view(0).size  # 200 x 240 quarters of a millimetre
    corner = [[wide / 2, 0], [0, 0], [wide / 2, high / 2]]
    angle = measured(workspace, "angle", points=corner)
    assert angle.data["angle_degrees"] == pytest.approx(math.degrees(math.atan2(30, 25)))
    assert angle.text == "Angle 50.2 degrees."
    lines = [[0, 0], [wide, 0], [0, high], [wide, 0]]
    two = measured(workspace, "angle", points=lines).data["angle_degrees"]
    assert two == pytest.approx(math.degrees(math.atan2(60, 50)))
    flat = Workspace([Study(GREY, pixel_aspect=2.0)], view_size=64)
    points = [[500, 0], [0, 0], [0, 500]]
    assert measured(flat, "angle", points=points).text == "Angle 90.0 degrees."
    points = [[500, 0], [0, 0], [500, 500]]  # 100 across, 60 x 2 down
    assert measured(flat, "angle", points=points).data["angle_degrees"] == pytest.approx(
        math.degrees(math.atan2(120, 100))
    )


def test_lengths_through_an_oblique_volume_are_those_of_its_affine(tmp_path: Path) -> None:
    turn, tilt = np.radians(20), np.radians(-35)
    one = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    other = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = one @ other @ np.diag([0.7, 1.3, 4.0])
    path = tmp_path / "oblique.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 30, 10), np.int16), affine), path)
    for plane, (first, second) in {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}.items():
        workspace = of_file(path, plane=plane, index=3)
        size = (20, 30, 10)
        steps = np.zeros(3)
        steps[[first, second]] = size[first] / 2, size[second] / 4
        wanted = np.linalg.norm(affine[:3, :3] @ steps)
        found = measured(workspace, "length", points=[[250, 500], [750, 750]])
        assert found.data["length_mm"] == pytest.approx(wanted, rel=1e-5), plane


def test_a_spacing_at_the_detector_gives_no_millimetres(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    del dataset.PixelSpacing, dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient
    dataset.Modality = "DX"
    dataset.ImagerPixelSpacing = [0.14, 0.14]
    dataset.save_as(tmp_path / "a.dcm")
    result = measured(of_file(tmp_path / "a.dcm"), "length", points=[[0, 0], [500, 0]])
    assert result.text == "Length 64.0 px; the spacing is that of the detector, not of the patient."
    assert result.data["spacing_origin"] == "detector"
    assert result.data["spacing_mm"] == [0.14, 0.14]
    assert "length_mm" not in result.data
    dataset.EstimatedRadiographicMagnificationFactor = 1.4
    dataset.save_as(tmp_path / "b.dcm")
    result = measured(of_file(tmp_path / "b.dcm"), "length", points=[[0, 0], [500, 0]])
    assert result.text == "Length 6.4 mm."


def test_what_has_no_spacing_is_measured_in_pixels() -> None:
    workspace = Workspace([Study(GREY)], view_size=64)
    result = measured(workspace, "length", points=[[0, 0], [0, 500]])
    assert result.text == "Length 60.0 px; the spacing is unknown."
    result = measured(workspace, "area", box=[0, 0, 500, 500])
    assert result.text == "Area 6000.0 px; the spacing is unknown."
    assert result.data["area_px"] == 6000


def test_ultrasound_has_millimetres_only_in_its_calibrated_region() -> None:
    scan = ((50.0, 20.0, 150.0, 100.0), (0.2, 0.2))
    workspace = Workspace([Study(GREY, calibrated=(scan,))], view_size=64)
    inside = measured(workspace, "length", points=[[300, 500], [600, 500]])
    assert inside.text == "Length 12.0 mm."
    assert "px" in measured(workspace, "length", points=[[100, 500], [600, 500]]).text


def test_intensities_are_those_of_the_values_in_the_region() -> None:
    path = get_testdata_file("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    workspace = of_file(path)
    box = measured(workspace, "intensity", box=[250, 500, 500, 1000])
    part = values[64:128, 32:64]
    assert box.data["mean"] == pytest.approx(part.mean())
    assert box.data["sd"] == pytest.approx(part.std())
    assert (box.data["min"], box.data["max"]) == (part.min(), part.max())
    assert (box.data["pixels"], box.data["unit"]) == (32 * 64, "HU")
    assert box.text.startswith(f"Mean {part.mean():.1f} HU, sd {part.std():.1f}, ")
    corners = [[100, 100], [900, 300], [700, 900], [200, 600]]
    found = measured(workspace, "intensity", points=corners).data
    drawn = np.array(corners)[:, ::-1] * 0.128 - 0.5
    inside = values[polygon2mask(values.shape, drawn)]
    assert found["mean"] == pytest.approx(inside.mean())
    assert found["pixels"] == len(inside)


def test_what_holds_no_measurement_does_not_count() -> None:
    hidden = np.zeros(GREY.shape, np.bool_)
    hidden[:60] = True
    workspace = Workspace([Study(GREY, hidden=hidden)], view_size=64)
    found = measured(workspace, "intensity", box=[0, 0, 1000, 1000]).data
    assert found["mean"] == pytest.approx(GREY[60:].mean())
    with pytest.raises(ToolError, match="no pixel with a value"):
        measured(workspace, "intensity", box=[0, 0, 1000, 400])


def test_colours_have_a_mean_each() -> None:
    colours = np.stack([GREY, GREY // 2, GREY // 4], axis=2)
    found = measured(Workspace([Study(colours)], view_size=64), "intensity", box=[0, 0, 999, 999])
    assert found.data["mean"] == pytest.approx(colours.mean(axis=(0, 1)), abs=1)
    assert found.text.startswith("Mean red ")


def test_a_slab_and_another_plane_have_their_own_spacing() -> None:
    volume = PlainVolume(np.random.default_rng(1).normal(0, 99, (5, 4, 6)).astype(np.float32))
    start = ImagePlace("coronal", 1, Slab(3))
    opened = opened_image_of(volume, start)
    down = measured(Workspace([opened], view_size=64), "length", points=[[0, 0], [0, 1000]])
    assert down.text == "Length 10.0 mm."  # 5 slices of 2 mm


def opened_image_of(volume: PlainVolume, start: ImagePlace) -> Any:
    from medgym import OpenedImage

    assert start.slab is not None
    return OpenedImage(volume, start, volume.slab(start.plane, start.index, start.slab))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"kind": "length"}, "expected 2 points for the length"),
        ({"kind": "length", "points": [[1, 1]]}, "expected 2 points for the length, not 1"),
        ({"kind": "length", "box": [1, 1, 9, 9]}, "expected 2 points for the length"),
        ({"kind": "length", "points": [[5, 5], [5, 5]]}, "expected two different points"),
        ({"kind": "length", "points": [[5, 5], [5, 1001]]}, "0 <= y <= 1000"),
        ({"kind": "length", "points": [[5, 5], [float("nan"), 1]]}, "finite number"),
        ({"kind": "length", "points": [[5, 5], [1, 2, 3]]}, "points"),
        ({"kind": "length", "view": 7, "points": [[5, 5], [1, 2]]}, "expected 0 to 0"),
        ({"kind": "angle", "points": [[5, 5], [1, 2]]}, "expected 3 or 4 points for the angle"),
        ({"kind": "angle", "points": [[5, 5], [5, 5], [1, 2]]}, "expected different points"),
        ({"kind": "area", "points": [[5, 5], [1, 2]]}, "either a box or 3 or more points"),
        ({"kind": "area", "box": [9, 9, 1, 1]}, "0 <= x0 < x1 <= 1000"),
        ({"kind": "area", "box": [1, 1, 1, 1]}, "0 <= x0 < x1 <= 1000"),
        ({"kind": "area", "points": [[1, 1], [9, 9], [5, 5]]}, "expected the corners of a polygon"),
        ({"kind": "area", "points": [[0, 0], [9, 9], [9, 0], [0, 9]]}, "of the polygon cross"),
        # Two triangles that meet at a corner and run in opposite directions.
        ({"kind": "area", "points": [[0, 0], [8, 0], [4, 4], [2, 6], [6, 6], [4, 4]]}, "or touch"),
        ({"kind": "area", "points": [[5, 5]] * 4}, "expected 3 different points"),
        ({"kind": "area", "box": [1, 1, 9, 9], "points": [[1, 1]] * 3}, "either a box or 3"),
        ({"kind": "volume", "box": [1, 1, 9, 9]}, "expected the arguments view, kind"),
        ({"kind": "intensity", "points": [[1, 1], [1.1, 1], [1, 1.1]]}, "a larger region"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_says_what_was_expected(call: Any, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        measured(Workspace([Study(GREY)], view_size=64), **{"view": 0, **call})
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"), (12.34, "12.3"), (1.0, "1.0"), (0.02345, "0.0234"), (0.5, "0.500"),
        (-0.5, "-0.500"), (123456.78, "123456.8"), (1e300, "1e+300"), (1e-9, "1e-09"),
    ],
)  # fmt: skip
def test_numbers_read_as_in_a_report(value: float, said: str) -> None:
    assert plain(value) == said
