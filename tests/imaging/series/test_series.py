"""Series of DICOM files: their order, what is refused, and where each pixel is in the patient."""

import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import medgym
from medgym.errors import UserError
from medgym.imaging.series.study import SeriesStudy
from medgym.imaging.study import ImageRef, need_of, open_image, open_study


def volume(path: Path, series: str | None = None) -> SeriesStudy:
    study = open_study(ImageRef(uri=f"file:{path}", series=series))
    assert isinstance(study, SeriesStudy)
    return study


def test_slices_are_in_the_order_of_their_positions(field_case: Path) -> None:
    study = open_study(field_case)
    assert list(study.planes) == ["axial", "coronal", "sagittal"]
    assert [study.values("axial", index)[0, 0] for index in range(12)] == list(range(12))
    assert study.planes["axial"] == medgym.Plane(12, (4, 4), (1.0, 1.0), "patient")
    assert study.planes["coronal"] == medgym.Plane(4, (4, 12), (5.0, 1.0), "patient")
    for name in ("coronal", "sagittal"):  # the head is at the top
        assert (study.values(name, 1) == np.arange(12)[::-1, np.newaxis]).all()
        assert study.show(name, 1).size == (4, 60)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"position": (0, 0, 5)}, "1 image.* lie where another one does"),
        ({"position": (0, 0, 65)}, "5 mm apart, but 10 mm between the images 11 and 12"),
        ({"position": (0, 3, 60)}, "do not lie behind each other"),
        ({"position": (0, 0, 60), "orientation": (0, 1, 0, 0, 0, -1)}, "several series.*sagittal"),
        ({"position": (0, 0, 60), "spacing": (2, 2)}, "several series"),
        ({"position": (0, 0, 60), "side": 5}, "several series.*5 x 5"),
        ({"position": (0, 0, 0), "TemporalPositionIdentifier": 2}, "several series.*time point 2"),
        ({"position": (0, 0, 60), "EchoTime": 80.5}, "several series.*echo time 80.5"),
        ({"position": (0, 0, 60), "series": "1.2.3.5"}, "several series; fix: name one of"),
        ({"position": None}, "several series"),
        ({"position": (0, 0, "nan")}, "damaged header"),
        ({"position": (0, 0, 60), "orientation": (1, 0, 0, 1, 0, 0)}, "damaged header"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_named(
    field_case: Path, write: Any, extra: dict[str, Any], said: str
) -> None:
    side = extra.pop("side", 4)
    if extra["position"] == (0, 0, "nan"):
        path = write(field_case / "x.dcm", np.zeros((4, 4), np.uint16), position=(0, 0, 77))
        data = path.read_bytes()
        path.write_bytes(data.replace(b"77.000000000", b"7x.000000000"))
    else:
        write(field_case / "x.dcm", np.zeros((side, side), np.uint16), **extra)
    with pytest.raises(UserError, match=said) as refused:
        open_study(field_case)
    assert "\n" not in str(refused.value)
    assert "ecret" not in str(refused.value)
    assert "1.2.3" not in str(refused.value)


def test_a_series_is_chosen_by_its_label(field_case: Path, write: Any) -> None:
    write(field_case / "x.dcm", np.full((4, 4), 99, np.uint16), position=(0, 0, 0), series="1.9")
    with pytest.raises(UserError) as refused:
        open_study(field_case)
    labels = [part.rsplit(" ", 1)[1] for part in str(refused.value).split(" (")[:-1]]
    counts = {label: volume(field_case, label).planes["axial"].count for label in labels}
    assert sorted(counts.values()) == [1, 12]
    with pytest.raises(UserError, match="no series 'other'"):
        volume(field_case, "other")


def test_echoes_and_acquisitions_at_the_same_places_are_split(tmp_path: Path, write: Any) -> None:
    for name in ("EchoNumbers", "AcquisitionNumber"):
        for number in (1, 2):
            for z in range(3):
                pixels = np.full((2, 2), 10 * number + z, np.uint16)
                path = tmp_path / name / f"{number}{z}.dcm"
                write(path, pixels, position=(0, 0, z), **{name: number})
        listed = str(_refusal(tmp_path / name)).split("name one of ")[1]
        labels = []
        for number, said in enumerate(listed.split("), "), 1):
            found = re.match(rf"(\w{{8}}\.\w{{4}}) \(3 axial 2 x 2, [a-z]+ {number}", said)
            assert found
            labels.append(found[1])
        study = volume(tmp_path / name, labels[1])
        assert [study.values("axial", z)[0, 0] for z in range(3)] == [20, 21, 22]
        # Another file beside them makes no label name another volume.
        write(tmp_path / name / "x", np.zeros((2, 2), np.uint16), position=(0, 0, 0), EchoTime=5)
        assert volume(tmp_path / name, labels[1]).values("axial", 2)[0, 0] == 22


def _refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as refused:
        open_study(path)
    return refused.value


def test_an_episode_shows_the_slice_that_a_case_names(field_case: Path) -> None:
    ref = ImageRef(uri=f"file:{field_case}", plane="axial", index=5)
    case = medgym.Case(
        id="a/b/c", images=(ref,), question="?", answer="x", group="a", source="a", split="b"
    )
    episode = medgym.Episode(case, medgym.Rules())
    pixels = open_image(ref)
    assert (pixels.pixels == 5).all()
    assert pixels.spacing_mm == (1.0, 1.0)
    assert episode.workspace.studies[0].pixels[0, 0] == 5
    assert need_of(ref) > 0
    assert (
        open_image(ref.model_copy(update={"plane": "sagittal", "index": 1})).pixels[-1] == 0
    ).all()
    for wrong, said in (
        ({"index": 12}, "has 12 image.s.; fix: name one of 0..11"),
        ({"index": None}, "needs a plane and an index; fix: name one of axial 0..11, coronal"),
        ({"plane": "frame"}, "has no plane 'frame'; fix: name one of axial, coronal, sagittal"),
    ):
        with pytest.raises(UserError, match=said):
            open_image(ref.model_copy(update=wrong))


def test_planes_have_the_values_that_pydicom_reads(tmp_path: Path, write: Any) -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (6, 5, 7)).astype(np.int16)
    for z, pixels in enumerate(voxels):
        scale = {"RescaleSlope": 1 + z, "RescaleIntercept": -z}
        write(tmp_path / f"{9 - z}.dcm", pixels, position=(0, 0, 2.5 * z), **scale)
    study = volume(tmp_path)
    read = [pydicom.dcmread(tmp_path / f"{9 - z}.dcm") for z in range(6)]
    stack = np.stack([pydicom.pixels.apply_modality_lut(each.pixel_array, each) for each in read])
    for z in range(6):
        assert np.array_equal(study.values("axial", z), stack[z])
    for y in range(5):
        assert np.array_equal(study.values("coronal", y), stack[::-1, y])
    for x in range(7):
        assert np.array_equal(study.values("sagittal", x), stack[::-1, :, x])
    assert np.array_equal(study.values("coronal", 2, (1, 2, 6, 4)), stack[::-1, 2][2:4, 1:6])
    whole, part = study.image("sagittal", 3), study.image("sagittal", 3, (1, 1, 3, 4))
    assert whole.window == part.window
    assert whole.unit == "HU"


def test_padding_is_hidden_in_all_planes(tmp_path: Path, write: Any) -> None:
    for z in range(3):
        pixels = np.array([[-2000, z], [10, 20]], np.int16)
        write(tmp_path / f"{z}.dcm", pixels, position=(0, 0, z), PixelPaddingValue=-2000)
    study = open_study(tmp_path)
    for plane in study.planes:
        assert study.padding(plane, 0).any()
        assert study.image(plane, 0).window.centre >= 0  # type: ignore[union-attr]


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    a, b, c = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


angle = st.floats(-3.1, 3.1)
length = st.floats(0.2, 9.0)
ROWS, COLUMNS, SLICES = 3, 4, 3


@given(
    angles=st.tuples(angle, angle, angle),
    lengths=st.tuples(length, length, length),
    start=st.tuples(*[st.floats(-900, 900)] * 3),
    back=st.booleans(),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_pixel_is_where_the_header_says(
    angles: tuple[float, float, float],
    lengths: tuple[float, float, float],
    start: tuple[float, float, float],
    back: bool,
    write: Any,
) -> None:
    turned = rotation(angles)
    row, column = turned[:, 0], turned[:, 1]
    normal = -turned[:, 2] if back else turned[:, 2]
    place = {}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(SLICES):
            corner = np.array(start) + k * lengths[2] * normal
            pixels = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS)
            pixels += k * ROWS * COLUMNS
            for j in range(ROWS):
                for i in range(COLUMNS):
                    value = int(pixels[j, i])
                    place[value] = corner + i * lengths[1] * row + j * lengths[0] * column
            write(
                Path(folder) / f"{k}.dcm", pixels, position=corner, spacing=lengths[:2],
                orientation=(*row, *column),
            )  # fmt: skip
        study = volume(Path(folder))
        for name, plane in study.planes.items():
            for index in range(plane.count):
                shown = study.values(name, index)
                for y in range(plane.size[1]):
                    for x in range(plane.size[0]):
                        point = study.to_patient(name, index, (x + 0.5, y + 0.5))
                        wanted = place[int(shown[y, x])]
                        assert np.abs(np.array(point) - wanted).max() < 0.1
                        again, at = study.from_patient(name, point)
                        assert np.allclose((again, *at), (index, x + 0.5, y + 0.5), atol=1e-6)
            # An index goes to the left, the back or the head; so do its pictures but the acquired.
            axis = {"sagittal": 0, "coronal": 1, "axial": 2}[name]
            here, there = (study.to_patient(name, index, (0, 0)) for index in (0, 1))
            assert there[axis] > here[axis]


def test_a_tilted_gantry_reports_no_millimetres_in_skewed_planes(
    tmp_path: Path, write: Any
) -> None:
    for z in range(4):
        write(tmp_path / f"{z}.dcm", np.zeros((3, 3), np.uint16), position=(0, z, 4 * z))
    study = volume(tmp_path)
    assert study.planes["axial"].spacing_mm == (1.0, 1.0)
    assert study.planes["coronal"].spacing_mm is not None
    assert study.planes["sagittal"].spacing_mm is None
    assert study.planes["sagittal"].spacing_origin is None
    assert study.to_patient("axial", 3, (0.5, 0.5)) == pytest.approx((0, 3, 12))
    assert study.oblique_degrees == pytest.approx(14.04, abs=0.01)


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.iterdir()):
            archive.write(each, f"Doe/{each.name}")
    return path


def test_a_zip_is_read_without_being_unpacked(field_case: Path) -> None:
    (field_case / "README.txt").write_text("no image")
    study = volume(zipped(field_case))
    shutil.rmtree(field_case)
    assert [study.values("axial", index)[0, 0] for index in range(12)] == list(range(12))
    assert study.values("coronal", 2)[0, 0] == 11
    assert sorted(each.name for each in field_case.parent.iterdir()) == ["series.zip"]


def test_a_forked_process_does_not_disturb_what_its_parent_reads(field_case: Path) -> None:
    (field_case / "5x.txt").write_bytes(os.urandom(100_000))  # the files do not fit into a buffer
    study = volume(zipped(field_case))
    stream = study._slices[0].entry._archive._stream  # type: ignore[attr-defined]
    study.values("axial", 3)
    before = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
    child = os.fork()
    if not child:
        right = False
        try:
            right = [study.values("axial", index)[0, 0] for index in (9, 4)] == [9, 4]
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == before


def test_half_a_zip_links_and_bombs_are_refused(
    field_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(field_case)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="is not a whole zip; fix: copy it again"):
        open_study(path)
    at = data.index(b"PK\x03\x04", 10)
    path.write_bytes(data[: at - 60] + b"\xff" * 50 + data[at - 10 :])
    with pytest.raises(UserError, match=r"1\.dcm' of .* is damaged"):
        open_study(path)
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="is a link or no file"):
        open_study(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", (field_case / "1.dcm").read_bytes() + bytes(20_000_000))
    monkeypatch.setenv("MEDGYM_IMAGE_MEMORY", "8MiB")
    study = open_study(path)
    with pytest.raises(UserError, match=r"unpacks to 19\.1 MiB, beyond the 8 MiB for images"):
        study.values("axial", 0)


def test_links_pipes_and_damaged_files_in_a_folder_are_refused(field_case: Path) -> None:
    strange = field_case / "strange"
    strange.symlink_to(field_case)
    with pytest.raises(UserError, match="strange is a link"):
        open_study(field_case)
    strange.unlink()
    os.mkfifo(strange)
    with pytest.raises(UserError, match="strange is a named pipe"):
        open_study(field_case)
    strange.unlink()
    strange.touch()
    with pytest.raises(UserError, match="strange is not a readable DICOM image"):
        open_study(field_case)
    strange.unlink()
    whole = (field_case / "4.dcm").read_bytes()
    for cut in (200, 500, 700):
        (field_case / "4.dcm").write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"4\.dcm is an image without pixels"):
            open_study(field_case)
    (field_case / "4.dcm").write_bytes(whole[:-4])
    study = open_study(field_case)
    assert study.values("axial", 1)[0, 0] == 1
    with pytest.raises(UserError, match=r"4\.dcm is cut off within its pixels"):
        study.values("axial", 0)
    with pytest.raises(UserError, match=r"4\.dcm is cut off within its pixels"):
        study.values("coronal", 3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_is_opened_or_refused_in_one_line(
    tmp_path: Path, write: Any, packed: bool
) -> None:
    rng = np.random.default_rng(1)
    for z in range(2):
        write(tmp_path / "s" / f"{z}.dcm", np.zeros((2, 2), np.uint16), position=(0, 0, z))
    path = zipped(tmp_path / "s") if packed else tmp_path / "s"
    damaged = path if packed else path / "1.dcm"
    whole = damaged.read_bytes()
    said = []
    for _ in range(80):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        damaged.write_bytes(data[: rng.integers(len(data) // 2, 2 * len(data))].tobytes())
        try:
            open_study(path).show("axial", 0)
        except UserError as error:
            said.append(str(error))
    assert len(said) > 10
    assert not [text for text in said if "\n" in text or "ecret" in text]


def test_a_file_that_changes_while_the_series_is_open(field_case: Path, write: Any) -> None:
    study = open_study(field_case)
    write(field_case / "4.dcm", np.full((4, 4), 50, np.uint16), position=(0, 0, 0))
    with pytest.raises(UserError, match=r"4\.dcm changed while it was read"):
        study.values("axial", 0)
    assert open_study(field_case).values("axial", 0)[0, 0] == 50


def test_a_directory_names_its_files(field_case: Path) -> None:
    path = field_case.parent / "DICOMDIR"
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.Dataset()
    data.file_meta = meta
    records = []
    for number in range(1, 13):
        record = pydicom.Dataset()
        record.DirectoryRecordType = "IMAGE"
        (field_case / f"{number}.dcm").rename(field_case / f"IM{number}")
        record.ReferencedFileID = ["SERIES", f"IM{number}"]
        records.append(record)
    field_case = field_case.rename(field_case.with_name("SERIES"))
    data.DirectoryRecordSequence = pydicom.Sequence(records)
    data.save_as(path, enforce_file_format=True)
    assert open_study(path).planes["axial"].count == 12
    assert open_study(field_case.parent).planes["axial"].count == 12
    (field_case / "IM4").unlink()
    with pytest.raises(UserError, match="names 12 files, of which 1 are missing"):
        open_study(path)
    record.ReferencedFileID = ["..", "IM4"]
    data.save_as(path, enforce_file_format=True, overwrite=True)
    with pytest.raises(UserError, match="names files outside of its folder"):
        open_study(path)


def test_a_file_of_several_frames_stays_one(tmp_path: Path, write: Any) -> None:
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    write(tmp_path / "clip" / "a.dcm", pixels, NumberOfFrames=2)
    study = open_study(tmp_path / "clip")
    assert study.planes["frame"].count == 2
    assert np.array_equal(study.values("frame", 1), pixels[1])
    assert open_image(ImageRef(uri=f"file:{tmp_path / 'clip'}", frame=1)).pixels[0, 0] == 12


def test_one_slice_is_read_without_the_others(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    side, count = 128, 300
    first = write(tmp_path / "0.dcm", np.zeros((side, side), np.uint16), position=(0, 0, 777.0))
    data = first.read_bytes()
    for z in range(count):  # 10 MB of pixels
        (tmp_path / f"{z}.dcm").write_bytes(
            data.replace(b"777.00000000", f"{z:03d}.00000000".encode())
        )
    monkeypatch.setenv("MEDGYM_IMAGE_MEMORY", "2MiB")
    open_study(tmp_path / "0.dcm").values("image", 0)  # imports what reading needs
    tracemalloc.start()
    study = open_study(tmp_path)
    study.values("axial", 150)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert study.planes["axial"].count == count
    assert most < 2 * 2**20
