"""Millimetres and where they are: nothing but a patient's millimetre is reported as one."""

from typing import Any

import numpy as np
import pytest

import medgym
from medgym.tools.segment.tool import Segment
from medgym.workspace import Workspace

FLAT = np.zeros((40, 60), np.uint16)
SOURCE = {"DistanceSourceToDetector": 1500, "DistanceSourceToPatient": 1000}


@pytest.mark.parametrize(
    ("tags", "spacing", "origin"),
    [
        ({}, None, None),
        ({"PixelSpacing": [0.5, 0.4]}, (0.5, 0.4), "patient"),
        ({"PixelSpacing": [0.5, 0.4], "PixelAspectRatio": [9, 1]}, (0.5, 0.4), "patient"),
        ({"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector"),
        ({"Modality": "DX", "PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector"),
        (
            {"Modality": "DX", "PixelSpacing": [1, 2], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (1, 2),
            "patient",
        ),
        (
            {"Modality": "CR", "PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.2, 0.2]},
            (0.2, 0.2),
            "detector",
        ),
        (
            {"Modality": "CR", "PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.2, 0.2]},
            (0.15, 0.15),
            "patient",
        ),
        (
            {"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 1.5},
            (0.2, 0.2),
            "patient",
        ),
        ({"ImagerPixelSpacing": [0.3, 0.3], **SOURCE}, (0.2, 0.2), "patient"),
        (
            {"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 0.5},
            (0.3, 0.3),
            "detector",
        ),
        (
            {"ImagerPixelSpacing": [0.3, 0.3], **SOURCE, "DistanceSourceToPatient": 0},
            (0.3, 0.3),
            "detector",
        ),
        ({"Modality": "OT", "NominalScannedPixelSpacing": [0.3, 0.2]}, (0.3, 0.2), "detector"),
        ({"PixelSpacing": [1e9, 1e9], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "detector"),
    ],
)  # fmt: skip
def test_a_spacing_says_where_it_is(write: Any, tags: Any, spacing: Any, origin: Any) -> None:
    study = medgym.open_study(write(FLAT, **tags))
    plane = study.planes["image"]
    assert (plane.spacing_mm and pytest.approx(plane.spacing_mm)) == spacing
    assert plane.spacing_origin == origin
    image = study.image("image", 0)
    assert image.spacing_mm == (plane.spacing_mm if origin == "patient" else None)


def test_frames_of_several_spacings_have_none_together(
    write: Any, item: Any, sequence: Any
) -> None:
    groups = [item(PixelMeasuresSequence=sequence(PixelSpacing=[each, 1])) for each in (1, 2)]
    path = write(np.zeros((2, 2, 2), np.uint8), PerFrameFunctionalGroupsSequence=groups)
    study = medgym.open_study(path)
    assert study.planes["frame"] == medgym.Plane(2, (2, 2), None, None)
    assert study.image("frame", 1).spacing_mm == (2, 1)


def test_a_reconstruction_of_projections_is_measured_in_the_patient(
    write: Any, sequence: Any
) -> None:
    """A slice of a tomosynthesis; a projection of Enhanced XA is measured at its detector."""
    groups = sequence(PixelMeasuresSequence=sequence(PixelSpacing=[0.1, 0.1]))
    study = medgym.open_study(write(FLAT, Modality="MG", SharedFunctionalGroupsSequence=groups))
    assert study.planes["image"] == medgym.Plane(1, (60, 40), (0.1, 0.1), "patient")
    groups = sequence(FramePixelDataPropertiesSequence=sequence(ImagerPixelSpacing=[0.2, 0.2]))
    study = medgym.open_study(write(FLAT, Modality="XA", SharedFunctionalGroupsSequence=groups))
    assert study.planes["image"] == medgym.Plane(1, (60, 40), (0.2, 0.2), "detector")


def region(sequence: Any, right: int, delta: float = 0.02, **tags: Any) -> Any:
    given = {
        "RegionSpatialFormat": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": delta, "PhysicalDeltaY": -delta, "RegionLocationMinX0": 0,
        "RegionLocationMinY0": 0, "RegionLocationMaxX1": right, "RegionLocationMaxY1": 39,
    }  # fmt: skip
    return sequence(**{**given, **tags})[0]


def test_an_ultrasound_image_has_millimetres_in_its_regions(write: Any, sequence: Any) -> None:
    path = write(FLAT, Modality="US", SequenceOfUltrasoundRegions=[region(sequence, 29)])
    study = medgym.open_study(path)
    assert study.planes["image"].spacing_mm == pytest.approx((0.2, 0.2))
    assert study.planes["image"].spacing_origin == "patient"
    image = study.image("image", 0)
    assert image.spacing_mm is None  # not everywhere
    assert image.spacing_in((2, 2, 30, 40)) == pytest.approx((0.2, 0.2))
    assert image.spacing_in((2, 2, 31, 40)) is None
    part = study.image("image", 0, (10, 5, 60, 40))
    assert part.spacing_in((0, 0, 20, 35)) == pytest.approx((0.2, 0.2))
    assert part.spacing_in((0, 0, 21, 35)) is None
    whole = write(FLAT, Modality="US", SequenceOfUltrasoundRegions=[region(sequence, 59)])
    assert medgym.open_study(whole).image("image", 0).spacing_mm == pytest.approx((0.2, 0.2))


def test_regions_that_measure_no_lengths_or_differ_are_no_spacing(
    write: Any, sequence: Any
) -> None:
    time = region(sequence, 59, PhysicalUnitsXDirection=4)
    path = write(FLAT, Modality="US", SequenceOfUltrasoundRegions=[time])
    assert medgym.open_study(path).planes["image"].spacing_mm is None
    two = [region(sequence, 9), region(sequence, 59, 0.03, RegionLocationMinX0=10)]
    study = medgym.open_study(write(FLAT, Modality="US", SequenceOfUltrasoundRegions=two))
    assert study.planes["image"].spacing_mm is None
    image = study.image("image", 0)
    assert image.spacing_in((0, 0, 10, 9)) == pytest.approx((0.2, 0.2))
    assert image.spacing_in((10, 0, 20, 9)) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize(
    ("tags", "measure"),
    [
        ({"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2]}, "Area 200 px"),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 2},
            "Area 2.0 mm2",
        ),
        ({"PixelSpacing": [0.2, 0.1]}, "Area 4.0 mm2"),
    ],
)
def test_segment_reports_only_a_patient_s_millimetres(write: Any, tags: Any, measure: str) -> None:
    pixels = FLAT.copy()
    pixels[10:20, 20:40] = 900
    study = medgym.open_study(write(pixels, **tags)).image("image", 0)
    workspace = Workspace([study], view_size=64)
    found = Segment()(Segment.Args(view=0, box=[200, 100, 800, 700]), workspace)
    assert measure in found.text


@pytest.mark.parametrize(
    ("tags", "size", "view"),
    [
        ({"PixelSpacing": [1, 1]}, (60, 40), (30, 20)),
        ({"PixelSpacing": [2, 1]}, (60, 80), (22, 30)),
        ({"PixelSpacing": [0.5, 1]}, (120, 40), (30, 10)),
        ({"Modality": "DX", "ImagerPixelSpacing": [2, 1]}, (60, 80), (22, 30)),
        ({"PixelAspectRatio": [2, 1]}, (60, 80), (22, 30)),
        ({"PixelSpacing": [90, 1]}, (60, 640), (3, 30)),
    ],
)
def test_pixels_are_drawn_as_long_as_they_are(write: Any, tags: Any, size: Any, view: Any) -> None:
    """In what is shown to a person and in a policy's views; boxes stay in original pixels."""
    pixels = np.zeros((40, 60), np.uint16)
    pixels[10:30, 15:45] = 1
    study = medgym.open_study(write(pixels, **tags))
    shown = study.show("image", 0)
    assert shown.size == size
    levels = np.asarray(shown)[..., 0]
    assert levels.mean() == pytest.approx(255 / 4, abs=2)
    assert levels[size[1] // 2, size[0] // 2] == 255
    workspace = Workspace([study.image("image", 0)], view_size=30)
    (first,) = workspace.views
    assert first.size == view
    assert workspace.box_px(0, [250, 250, 750, 750]) == (15, 10, 45, 30)
