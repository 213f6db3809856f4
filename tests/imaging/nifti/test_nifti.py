"""NIfTI volumes, compared with what nibabel reads."""

import gzip
import io
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym.errors import UserError
from medgym.imaging.nifti.study import NiftiStudy
from medgym.imaging.study import ImageRef, need_of, open_image, open_study

nibabel = pytest.importorskip("nibabel")

LPS = np.array([-1.0, -1.0, 1.0])


def opened(path: Path, series: str | None = None) -> NiftiStudy:
    study = open_study(ImageRef(uri=f"file:{path}", series=series))
    assert isinstance(study, NiftiStudy)
    return study


def saved(path: Path, voxels: Any, affine: Any = None, **header: Any) -> Path:
    image = nibabel.Nifti1Image(voxels, np.diag([2, 3, 4, 1.0]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "scan"])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_a_volume_is_shown_as_a_radiologist_sees_it(
    tmp_path: Path, name: str, signs: tuple[int, int, int]
) -> None:
    voxels = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    path = saved(tmp_path / "a.nii", voxels, np.diag([*np.multiply(signs, (2, 3, 4)), 1.0]))
    right_front_head = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    data = path.read_bytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    study = opened(path)
    left_back_head = right_front_head[::-1, ::-1]
    for z in range(7):  # the patient's right is on the left, the front is at the top
        assert np.array_equal(study.values("axial", z), left_back_head[:, :, z].T)
    for y in range(6):  # the head is at the top
        assert np.array_equal(study.values("coronal", y), left_back_head[:, y, ::-1].T)
    for x in range(5):  # the front is on the left
        assert np.array_equal(study.values("sagittal", x), left_back_head[x, :, ::-1].T)
    for plane in study.planes:
        assert np.array_equal(
            study.values(plane, 1, (1, 2, 4, 5)), study.values(plane, 1)[2:5, 1:4]
        )
    assert study.planes["sagittal"].spacing_mm == (4.0, 3.0)
    assert study.show("coronal", 0).size == (5, 14)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_values_of_each_type_are_kept(tmp_path: Path, kind: str) -> None:
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        voxels = np.array([np.pi, -1e30, 0, np.nan], dtype)
    else:
        most = min(np.iinfo(dtype).max, 2**53)
        voxels = np.array([np.iinfo(dtype).min if most < 2**53 else -most, most, 0, 1], dtype)
    image = nibabel.Nifti1Image(voxels.reshape(2, 2, 1), np.eye(4), dtype=dtype)
    nibabel.save(image, tmp_path / "a.nii")
    pixels = opened(tmp_path / "a.nii").image("axial", 0).pixels
    wanted = voxels.reshape(2, 2)[::-1, ::-1].T
    assert np.array_equal(pixels.astype(np.float64), wanted.astype(np.float64), equal_nan=True)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    voxels = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    path = saved(tmp_path / "a.nii", voxels)
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<ff", 2.5, -1000)
    path.write_bytes(data)
    read = nibabel.load(path).get_fdata()
    assert read[1, 1, 1] == 7 * 2.5 - 1000
    assert np.array_equal(opened(path).values("axial", 1), read[::-1, ::-1, 1].T)


def test_the_range_that_the_file_shows_is_shown(tmp_path: Path) -> None:
    voxels = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    study = opened(saved(tmp_path / "a.nii", voxels, cal_min=2, cal_max=4))
    window = study.image("axial", 0).window
    assert (window.centre, window.width) == (3, 2)  # type: ignore[union-attr]
    study = opened(saved(tmp_path / "b.nii", voxels))
    assert study.image("axial", 0).window == study.image("axial", 0, (0, 0, 1, 1)).window


def test_time_points(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 2, 2, 3)
    one = opened(saved(tmp_path / "one.nii", voxels[..., :1]))
    assert np.array_equal(one.values("axial", 0), voxels[::-1, ::-1, 0, 0].T)
    path = saved(tmp_path / "three.nii.gz", voxels)
    with pytest.raises(UserError, match=r"has 3 time points; fix: name one of 0\.\.2"):
        opened(path)
    for name in ("3", "-1", "one", "²"):
        with pytest.raises(UserError, match="has 3 time points"):
            opened(path, name)
    assert np.array_equal(opened(path, "2").values("axial", 1), voxels[::-1, ::-1, 1, 2].T)
    ref = ImageRef(uri=f"file:{path}", series="2", plane="sagittal", index=0)
    assert np.array_equal(open_image(ref).pixels, voxels[1, ::-1, ::-1, 2].T)
    assert need_of(ref) > 0
    vectors = saved(tmp_path / "vectors.nii", np.zeros((2, 2, 2, 1, 3), np.float32))
    with pytest.raises(UserError, match="more than one value"):
        opened(vectors)


def test_colours(tmp_path: Path) -> None:
    colours = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels = np.zeros((2, 2, 2), colours)
    voxels["G"][0, 1, 1] = 200
    study = opened(saved(tmp_path / "a.nii", voxels))
    assert study.values("axial", 1)[0, 1].tolist() == [0, 200, 0]


number = st.floats(-1, 1)
SHAPE = (3, 4, 2)


@given(
    directions=st.lists(number, min_size=9, max_size=9),
    lengths=st.tuples(*[st.floats(0.2, 9)] * 3),
    start=st.tuples(*[st.floats(-900, 900)] * 3),
)
@settings(max_examples=20, deadline=None)
def test_each_voxel_is_where_nibabel_says(
    directions: list[float], lengths: tuple[float, ...], start: tuple[float, ...]
) -> None:
    """Mirrored, oblique and sheared volumes."""
    turned = np.array(directions).reshape(3, 3) + np.diag([2.0, -2.0, 2.0])
    turned /= np.linalg.norm(turned, axis=0)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turned * lengths, start
    voxels = np.arange(24, dtype=np.int16).reshape(SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii"
        nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
        said = nibabel.load(path).affine
        study = opened(path)
        assert set(study.planes) == {"axial", "coronal", "sagittal"}
        for name, plane in study.planes.items():
            seen = set()
            for index in range(plane.count):
                shown = study.values(name, index)
                for y in range(plane.size[1]):
                    for x in range(plane.size[0]):
                        value = int(shown[y, x])
                        seen.add(value)
                        voxel = np.unravel_index(value, SHAPE)
                        wanted = nibabel.affines.apply_affine(said, voxel) * LPS
                        point = study.to_patient(name, index, (x + 0.5, y + 0.5))
                        assert np.abs(point - wanted).max() < 0.1
                        again, at = study.from_patient(name, point)
                        assert np.allclose((again, *at), (index, x + 0.5, y + 0.5), atol=1e-3)
            assert len(seen) == 24


def test_a_sheared_volume_opens_without_millimetres_where_it_is_skewed(tmp_path: Path) -> None:
    affine = np.array([[2, 0.5, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    planes = opened(saved(tmp_path / "a.nii", np.zeros((3, 3, 3), np.uint8), affine)).planes
    assert planes["axial"].spacing_mm is None
    assert planes["axial"].spacing_origin is None
    assert planes["sagittal"].spacing_mm == pytest.approx((2, np.hypot(2, 0.5)))


def test_units_are_honoured(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([500, 500, 500, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    assert opened(tmp_path / "a.nii").planes["axial"].spacing_mm == (0.5, 0.5)


def test_what_cannot_be_honoured_is_refused_by_name(tmp_path: Path) -> None:
    voxels = np.zeros((4, 4, 4), np.int16)
    whole = saved(tmp_path / "a.nii", voxels, descrip=b"Doe, John").read_bytes()

    def refused(data: bytes, said: str, name: str = "b.nii") -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=said) as error:
            open_study(tmp_path / name).values("axial", 3)
        assert "\n" not in str(error.value)
        assert "Doe" not in str(error.value)

    def changed(at: int, new: bytes) -> bytes:
        return whole[:at] + new + whole[at + len(new) :]

    refused(whole[:300], "is cut off within its header; fix: copy it again")
    refused(whole[:-2], "is cut off within its voxels; fix: copy it again")
    refused(gzip.compress(whole)[:-20], "is cut off; fix: copy it again", "b.nii.gz")
    refused(gzip.compress(whole[:-2]), "cut off|not a readable NIfTI volume", "b.nii.gz")
    refused(b"\x1f\x8b" + bytes(100), "is not a readable NIfTI volume", "b.nii.gz")
    refused(changed(344, b"ni1\0"), "one of a pair of NIfTI files")
    refused(changed(252, struct.pack("<hh", 0, 0)), "left and right are unknown")
    refused(changed(280, struct.pack("<ffff", 0, 0, 0, 0)), "is no map of a volume")
    refused(changed(280, struct.pack("<ffff", np.nan, 0, 0, 0)), "is no map of a volume")
    refused(changed(108, struct.pack("<f", 2e9)), "does not say where its voxels begin")
    refused(changed(70, struct.pack("<h", 77)), "is not a readable NIfTI volume")
    refused(changed(42, struct.pack("<h", -3)), "has no voxels|not a readable NIfTI volume")
    image = nibabel.Nifti1Image(voxels.astype(np.complex64), np.eye(4))
    nibabel.save(image, tmp_path / "c.nii")
    refused((tmp_path / "c.nii").read_bytes(), "a type that has no grey")


def test_a_damaged_header_is_opened_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = saved(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16), descrip=b"Doe").read_bytes()
    said = []
    for number in range(150):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(352, size=3)] = rng.integers(256, size=3)
        path = tmp_path / ("b.nii.gz" if number % 2 else "b.nii")
        path.write_bytes(gzip.compress(data.tobytes()) if number % 2 else data.tobytes())
        try:
            study = open_study(path)
            for plane in study.planes:
                study.values(plane, 0)
        except UserError as error:
            said.append(str(error))
    assert 10 < len(said) < 140
    assert not [text for text in said if "\n" in text or "Doe" in text]


def test_a_bomb_is_refused_by_what_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000, 100))
    header.set_data_dtype(np.int16)
    header["sform_code"], header["srow_x"], header["srow_y"], header["srow_z"] = (
        1, [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0],
    )  # fmt: skip
    header["vox_offset"] = 352
    stream = io.BytesIO()
    header.write_to(stream)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(stream.getvalue() + bytes(1000)))
    monkeypatch.setenv("MEDGYM_IMAGE_MEMORY", "1GiB")
    with pytest.raises(UserError, match=r"unpacks to 168 GiB, beyond the 1 GiB for images"):
        open_study(tmp_path / "a.nii.gz")


def test_a_file_that_changes_while_it_is_open(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16))
    study = open_study(path)
    saved(path, np.ones((4, 4, 4), np.int16))
    os.utime(path, ns=(1, 1))
    with pytest.raises(UserError, match="changed while it was read; fix: open it again"):
        study.values("axial", 0)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16))
    program = f"""
import sys
sys.modules["nibabel"] = None
import medgym
try:
    medgym.open_study({str(path)!r})
except medgym.UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == (
        "NIfTI needs nibabel, which is not installed; fix: pip install 'medgym[nifti]'\n"
    )
