"""Files whose frames make a volume: planes against the array that was written."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

import medgym
from medgym.errors import UserError
from medgym.imaging.series.enhanced import EnhancedStudy
from medgym.imaging.study import ImageRef, need_of, open_image

COUNT, ROWS, COLUMNS = 6, 5, 4

VOXELS = np.arange(COUNT * ROWS * COLUMNS, dtype=np.uint16).reshape(COUNT, ROWS, COLUMNS)
"""By their place from the feet up."""

ORDER = [3, 0, 5, 1, 4, 2]
"""The place of each frame in the file."""


def group(**values: Any) -> list[Dataset]:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return [made]


def write_frames(
    path: Path,
    places: list[tuple[float, float, float]],
    pixels: NDArray[np.uint16],
    *,
    orientations: list[tuple[float, ...]] | None = None,
    contents: list[dict[str, Any]] | None = None,
    echoes: list[float] | None = None,
    compress: bool = False,
) -> Path:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.Modality, made.PatientName = "1.2.3.4", "CT", "Planted^Name"
    made.Rows, made.Columns = pixels.shape[1:]
    made.NumberOfFrames = len(pixels)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.5, 0.25])
    shared.PixelValueTransformationSequence = group(
        RescaleIntercept=-100, RescaleSlope=2, RescaleType="HU"
    )
    shared.FrameVOILUTSequence = group(WindowCenter=0, WindowWidth=200)
    made.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number, place in enumerate(places):
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=list(place))
        axes = orientations[number] if orientations else (1, 0, 0, 0, 1, 0)
        frame.PlaneOrientationSequence = group(ImageOrientationPatient=list(axes))
        frame.FrameContentSequence = group(**(contents[number] if contents else {"StackID": "1"}))
        if echoes:
            frame.MREchoSequence = group(EffectiveEchoTime=echoes[number])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    made.PixelData = pixels.tobytes()
    if compress:
        made.compress(RLELossless)
    path.parent.mkdir(exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def places(order: list[int], step: float = 3.0) -> list[tuple[float, float, float]]:
    return [(10.0, 20.0, 30.0 + step * each) for each in order]


@pytest.fixture
def enhanced(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "enhanced.dcm", places(ORDER), VOXELS[ORDER])


@pytest.mark.parametrize("compress", [False, True])
def test_frames_are_put_in_the_order_of_their_positions(tmp_path: Path, compress: bool) -> None:
    path = write_frames(tmp_path / "a.dcm", places(ORDER), VOXELS[ORDER], compress=compress)
    study = medgym.open_study(path)
    assert isinstance(study, EnhancedStudy)
    meant = VOXELS * 2.0 - 100
    assert {name: (each.count, each.size) for name, each in study.planes.items()} == {
        "axial": (6, (4, 5)), "coronal": (5, (4, 6)), "sagittal": (4, (5, 6))
    }  # fmt: skip
    assert study.planes["axial"].spacing_mm == (0.5, 0.25)
    assert study.planes["coronal"].spacing_mm == pytest.approx((3.0, 0.25))
    for index in range(COUNT):
        np.testing.assert_array_equal(study.values("axial", index), meant[index])
    np.testing.assert_array_equal(study.values("coronal", 2), meant[::-1, 2])
    np.testing.assert_array_equal(
        study.values("sagittal", 3, (1, 2, 4, 6)), meant[::-1, :, 3][2:6, 1:4]
    )
    assert study.to_patient("axial", 5, (0.5, 0.5)) == pytest.approx((10, 20, 45))
    image = study.image("coronal", 0)
    assert (image.unit, image.modality) == ("HU", "CT")
    assert image.window == study.windows("axial", 0)[0]
    assert study.show("coronal", 1, window="lung").size[1] > 0


def test_a_case_that_names_a_frame_gets_that_of_the_file(enhanced: Path) -> None:
    uri = f"file:{enhanced}"
    for number, place in enumerate(ORDER):
        frame = open_image(ImageRef(uri=uri, frame=number))
        np.testing.assert_array_equal(frame.pixels, VOXELS[place] * 2.0 - 100)
    image = open_image(ImageRef(uri=uri, plane="axial", index=1))
    np.testing.assert_array_equal(image.pixels, VOXELS[1] * 2.0 - 100)
    assert need_of(ImageRef(uri=uri, plane="sagittal", index=1)) > 0
    with pytest.raises(UserError, match=re.escape("fix: name one of axial 0..5, coronal")):
        open_image(ImageRef(uri=uri))


def test_time_points_and_stacks_are_named(tmp_path: Path) -> None:
    twice = VOXELS[[*range(COUNT), *range(COUNT)]]
    twice[COUNT:] += 500
    contents = [{"StackID": "1", "TemporalPositionIndex": 1 + n // COUNT} for n in range(2 * COUNT)]
    path = write_frames(tmp_path / "a.dcm", places([*range(COUNT)] * 2), twice, contents=contents)
    with pytest.raises(UserError, match=r"several series; fix: name .*time point 1") as found:
        medgym.open_study(path)
    assert "Planted" not in str(found.value)
    labels = re.findall(r"([0-9a-f.]+) \(6 axial", str(found.value))
    means = [
        medgym.open_study(ImageRef(uri=f"file:{path}", series=label)).values("axial", 0).min()
        for label in labels
    ]
    assert sorted(means) == [-100, 900]
    with pytest.raises(UserError, match="no series 'other'"):
        medgym.open_study(ImageRef(uri=f"file:{path}", series="other"))


def test_echoes_and_directions_make_volumes_of_their_own(tmp_path: Path) -> None:
    path = write_frames(
        tmp_path / "a.dcm", places([0, 0, 1, 1, 2, 2]), VOXELS, echoes=[5.0, 80.0] * 3
    )
    with pytest.raises(UserError, match="echo time 80"):
        medgym.open_study(path)
    turned = [(1.0, 0, 0, 0, 1, 0)] * 3 + [(1.0, 0, 0, 0, 0, -1)] * 3
    positions = [(0.0, 0.0, float(z)) for z in range(3)] + [(0.0, float(y), 0.0) for y in range(3)]
    path = write_frames(tmp_path / "b.dcm", positions, VOXELS, orientations=turned)
    with pytest.raises(
        UserError, match=r"\(3 axial 4 x 5.*\(3 coronal 4 x 5|\(3 coronal.*\(3 axial"
    ):
        medgym.open_study(path)


def test_a_missing_frame_is_refused_by_name(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", places([0, 1, 2, 4, 5]), VOXELS[:5])
    with pytest.raises(UserError, match="3 mm apart, but 6 mm"):
        medgym.open_study(path)
    # Its frames can be shown one by one.
    assert open_image(ImageRef(uri=f"file:{path}", frame=3)).size == (COLUMNS, ROWS)


def test_one_place_at_several_times_stays_frames(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", places([0] * 4), VOXELS[:4])
    assert medgym.open_study(path).planes["frame"].count == 4
    with pytest.raises(UserError, match="has no series; fix: leave the series out"):
        medgym.open_study(ImageRef(uri=f"file:{path}", series="one"))


def test_a_file_of_a_folder_is_a_volume_too(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "folder" / "a.dcm", places(ORDER), VOXELS[ORDER])
    study = medgym.open_study(path.parent)
    np.testing.assert_array_equal(study.values("axial", 0), VOXELS[0] * 2.0 - 100)
    frame = open_image(ImageRef(uri=f"file:{path.parent}", frame=0))
    np.testing.assert_array_equal(frame.pixels, VOXELS[ORDER[0]] * 2.0 - 100)
    packed = tmp_path / "folder.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.write(path, "a.dcm")
    assert medgym.open_study(packed).planes["frame"].count == COUNT


def test_a_file_that_changes_while_it_is_read_is_refused(
    enhanced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = medgym.open_study(enhanced)
    write_frames(enhanced, places(ORDER, 4.0), VOXELS[ORDER] + np.uint16(1))
    for plane in ("axial", "coronal"):
        with pytest.raises(UserError, match="changed while it was read"):
            study.values(plane, 0)
    again = medgym.open_study(enhanced)
    np.testing.assert_array_equal(again.values("axial", 0), VOXELS[0] * 2.0 - 98)
