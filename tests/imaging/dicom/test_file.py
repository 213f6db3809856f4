"""Files as they lie about: without a preamble, changed meanwhile, large, of odd names."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

import medgym
from medgym.errors import UserError
from medgym.imaging.dicom.file import begins_a_data_set
from medgym.imaging.study import open_file

PIXELS = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)


@pytest.mark.parametrize("name", ["no_preamble.dcm", "IM0001", "a#b?c %31.dcm"])
@pytest.mark.parametrize("cut", [0, 132, "meta"])
def test_a_file_without_a_preamble_is_opened(write: Any, cut: Any, name: str) -> None:
    data = write(PIXELS).read_bytes()
    start = data.index(b"\x08\x00\x16\x00UI") if cut == "meta" else cut
    path = write(PIXELS).with_name(name)
    path.write_bytes(data[start:])
    for reference in (path, str(path), path.as_uri(), medgym.ImageRef(uri=f"file:{path}")):
        study = medgym.open_study(reference)
        assert study.planes == {"frame": medgym.Plane(2, (4, 3))}
        assert study.values("frame", 1).tolist() == PIXELS[1].tolist()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_way_of_writing_is_guessed_where_no_meta_information_says_it(
    tmp_path: Path, write: Any, syntax: str
) -> None:
    little = syntax == ImplicitVRLittleEndian
    pixels = PIXELS.astype("<u2" if little else ">u2").tobytes()
    whole = write(PIXELS, syntax=syntax, PixelData=pixels).read_bytes()
    path = tmp_path / "IM"
    path.write_bytes(whole[whole.index(b"\x08\x00\x16\x00" if little else b"\x00\x08\x00\x16") :])
    assert medgym.open_study(path).values("frame", 1).tolist() == PIXELS[1].tolist()


@pytest.mark.parametrize(
    "head",
    [
        b"", b"\x08\x00", b"GIF89a" + bytes(20), b"\x7fELF" + bytes(20), b"PK\x03\x04" + bytes(20),
        b"%PDF-1.7" + bytes(20), b"\x08\x00\x05\x00\xff\xff\xff\x7f" + bytes(20), b"\x10\x00" * 20,
    ],
)  # fmt: skip
def test_not_any_file_is_a_data_set(tmp_path: Path, head: bytes) -> None:
    assert not begins_a_data_set(head)
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(
        UserError,
        match=r"does not begin like one|not a whole zip|is empty|does not read|cut off",
    ):
        medgym.open_study(tmp_path / "a")


def test_what_only_begins_like_a_data_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x08\x00\x05\x00CS\x04\x00" + os.urandom(4000))
    with pytest.raises(UserError, match="fix: "):
        medgym.open_study(path)


def test_only_what_is_asked_for_is_read(write: Any) -> None:
    """100 frames of 512 x 512 take 50 MiB; a frame takes 0.5."""
    path = write(np.zeros((1, 512, 512), np.uint16), NumberOfFrames=100)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + 99 * 2**19)
    data = path.read_bytes()[:4000]
    at = data.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    with path.open("r+b") as file:
        file.seek(at)
        file.write((100 * 2**19).to_bytes(4, "little"))
        file.seek(at + 4 + 99 * 2**19 + 2 * (512 * 7 + 9))
        file.write(b"\x05\0")
    study = medgym.open_study(path)
    study.values("frame", 0)
    tracemalloc.start()
    assert study.values("frame", 99)[7, 9] == 5
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.reset_peak()
    assert study.values("frame", 99, (8, 7, 10, 8)).tolist() == [[0, 5]]
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_part_is_shown_as_in_the_whole(write: Any, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels = rng.integers(0, 4096, (9, 11), dtype=np.uint16)
    study = medgym.open_study(write(pixels, PixelPaddingValue=int(pixels[0, 0])))
    x = sorted(data.draw(st.tuples(st.integers(0, 10), st.integers(0, 10))))
    y = sorted(data.draw(st.tuples(st.integers(0, 8), st.integers(0, 8))))
    box = (x[0], y[0], x[1] + 1, y[1] + 1)
    part = (slice(box[1], box[3]), slice(box[0], box[2]))
    assert study.values("image", 0, box).tolist() == pixels[part].tolist()
    whole = np.asarray(study.show("image", 0))
    assert np.array_equal(np.asarray(study.show("image", 0, box)), whole[part])
    image = study.image("image", 0)
    assert study.show("image", 0, box, (7, 5)) == image.render(tuple(map(float, box)), (7, 5))


def test_a_file_that_changes_while_it_is_read_is_named(write: Any) -> None:
    path = write(PIXELS)
    study = medgym.open_study(path)
    study.values("frame", 0)
    path.write_bytes(path.read_bytes() + b"\0\0")
    with pytest.raises(UserError, match="changed while it was read"):
        study.values("frame", 0)
    path.unlink()
    with pytest.raises(UserError, match="no such image"):
        study.values("frame", 0)


def test_pixels_that_end_early_are_cut_off(write: Any) -> None:
    path = write(PIXELS)
    data = path.read_bytes()
    path.write_bytes(data[:-2])
    study = medgym.open_study(path)
    assert study.values("frame", 0).tolist() == PIXELS[0].tolist()
    with pytest.raises(UserError, match="cut off within its pixels"):
        study.values("frame", 1)
    more = write(PIXELS, "b.dcm", NumberOfFrames=3)
    with pytest.raises(UserError, match="cut off within its pixels"):
        medgym.open_study(more).values("frame", 2)


def test_a_plane_an_index_or_a_box_that_is_not_there_is_named(write: Any) -> None:
    study = medgym.open_study(write(PIXELS))
    for plane, index, box, said in (
        ("axial", 0, None, "has no plane 'axial'; fix: name one of frame"),
        ("frame", -1, None, "fix: name one of 0..1"),
        ("frame", 0, (0, 0, 5, 3), "the box does not lie in"),
        ("frame", 0, (2, 2, 2, 3), "the box does not lie in"),
        ("frame", 0, (float("nan"), 0, 2, 3), "the box does not lie in"),
    ):
        with pytest.raises(UserError, match=said):
            study.show(plane, index, box)
    with pytest.raises(UserError, match="no picture has 0 x 5"):
        study.show("frame", 0, size=(0, 5))


def test_no_error_and_no_log_quotes_the_header(
    write: Any, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """Wherever a name is planted, in place of a number or of text."""
    for tag, vr in (
        ("NumberOfFrames", "IS"), ("WindowCenter", "DS"), ("RescaleSlope", "DS"),
        ("PixelPaddingValue", "LO"), ("PhotometricInterpretation", "CS"), ("Rows", "LO"),
        ("BitsAllocated", "LO"), ("PresentationLUTShape", "CS"), ("VOILUTFunction", "CS"),
        ("PixelSpacing", "DS"), ("RescaleType", "LO"), ("DoseGridScaling", "DS"),
        ("SamplesPerPixel", "LO"), ("PixelRepresentation", "LO"), ("ShutterShape", "CS"),
        ("ImagerPixelSpacing", "DS"), ("HighBit", "LO"), ("DoseUnits", "CS"),
    ):  # fmt: skip
        path = write(PIXELS[0], WindowWidth=5, PlanarConfiguration=0)
        dataset = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            number = pydicom.datadict.tag_for_keyword(tag)
            dataset.add(pydicom.DataElement(number, "LO", "DOE^JANE"))
            dataset.save_as(path)
        data = path.read_bytes().replace(b"LO\x08\0DOE^JANE", vr.encode() + b"\x08\0DOE^JANE")
        path.write_bytes(data)
        caplog.clear()
        recwarn.clear()
        try:
            study = medgym.open_study(path)
            study.show("image", 0)
            text = f"{study.planes} {study.windows('image', 0)}"
        except UserError as error:
            text = str(error)
            cause = error.__cause__
            assert cause is None or "fix: " in text
        text += caplog.text + "".join(str(each.message) for each in recwarn.list)
        assert "DOE" not in text, tag
        assert "JANE" not in text, tag


def test_open_file_is_the_first_plane(write: Any) -> None:
    path = write(PIXELS)
    assert open_file(path, 1).pixels.tolist() == PIXELS[1].tolist()
    with pytest.raises(UserError, match=r"holds 2 frame\(s\); fix: name one of 0..1"):
        open_file(path)
