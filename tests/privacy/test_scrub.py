"""De-identified images: nothing tells whose they are, and they are the same images."""

import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

import medgym
from medgym.cli import main
from medgym.errors import UserError
from medgym.privacy.report import ScrubReport
from medgym.privacy.scrub import report_path, scrub

from .conftest import (
    archive,
    clip,
    ct,
    pictures,
    planted,
    save,
    some_pixels,
    traces_below,
    traces_in,
)


def report_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_path(out).read_text("utf-8"))
    return found


def written(report: ScrubReport) -> dict[str, Path]:
    """The new file of each that was written, by the name of the original."""
    return {each.source: report.out / each.out for each in report.files if each.out is not None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient's folder, with images of all kinds and what lies beside them."""
    pixels = some_pixels()
    folder = tmp_path_factory.mktemp("privacy") / "Zebedeus 18621103"
    pictures(folder / "pictures", pixels)
    for z in range(3):
        data = planted(ct(pixels + z, uid=f"1.2.9.{z + 2}"), every=1 if z == 0 else 11)
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
        data.AcquisitionTime, data.FrameOfReferenceUID = "0755", "1.2.9.7"
        data.WindowCenter, data.WindowWidth, data.RescaleIntercept = 40, 400, -1024
        data.RescaleSlope, data.ImageType = 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.9.2"
        save(data, folder / "Quirina's series" / f"{3 - z}.dcm")
    (folder / "README.txt").write_text("the images of Quirina Zebedeus")
    (folder / ".hidden").write_text("Quirina")
    (folder / "link.dcm").symlink_to(folder / "Quirina's series" / "1.dcm")
    clip(folder / "a.mp4")
    archive(folder / "all.zip", folder / "Quirina's series" / "1.dcm")
    return folder


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ScrubReport:
    return scrub(folder, tmp_path_factory.mktemp("out") / "clean")


def test_nothing_tells_whose_they_are(report: ScrubReport, folder: Path) -> None:
    assert traces_below(folder)
    assert not traces_below(report.out)
    # The report names the originals, so it does not lie among the files.
    assert not list(report.out.rglob("*.json"))
    assert report_path(report.out).stat().st_mode & 0o077 == 0
    assert "Quirina's series/1.dcm" in report_path(report.out).read_text("utf-8")
    values = report_path(report.out).read_text("utf-8").replace("Quirina's series", "")
    assert not traces_in(values.replace(folder.name, ""))


def test_each_file_is_written_or_named(report: ScrubReport) -> None:
    assert len(report.written) == 10
    assert {each.source: each.reason for each in report.refused} == {
        "a.mp4": "it is a clip; fix: save its frames as pictures or as a DICOM file",
        "all.zip": "it is a zip; fix: unpack it first",
    }
    assert {each.source: each.reason for each in report.left_out} == {
        ".hidden": "it is hidden",
        "README.txt": "it is no image that medgym reads",
        "link.dcm": "it is a link",
    }
    found = report_of(report.out)
    assert found["counts"] == {"files": 15, "written": 10, "refused": 2, "left out": 3}
    assert found["elements"]["PatientName"]["emptied"] == 6  # and in the items of a sequence
    assert found["elements"]["private elements"]["removed"] >= 6
    assert found["totals"]["new UID"] >= 12
    assert [each["from"] for each in found["files"] if each.get("done")]


def test_they_are_the_same_images(report: ScrubReport, folder: Path) -> None:
    for source, new in written(report).items():
        one, other = medgym.open_study(folder / source), medgym.open_study(new)
        assert dict(one.planes) == dict(other.planes)
        for plane, about in one.planes.items():
            for index in range(about.count):
                assert np.array_equal(one.values(plane, index), other.values(plane, index))
                assert one.windows(plane, index) == other.windows(plane, index)
                assert one.show(plane, index) == other.show(plane, index)
        if source.endswith(".dcm"):
            stored = [pydicom.dcmread(each).PixelData for each in (folder / source, new)]
            assert stored[0] == stored[1]


def test_a_series_stays_a_series(report: ScrubReport, folder: Path) -> None:
    new = written(report)["Quirina's series/1.dcm"].parent
    one, other = medgym.open_study(folder / "Quirina's series"), medgym.open_study(new)
    assert dict(one.planes) == dict(other.planes)
    assert np.array_equal(one.values("axial", 2), other.values("axial", 2))
    headers = [pydicom.dcmread(each, stop_before_pixels=True) for each in sorted(new.iterdir())]
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert len({each[keyword].value for each in headers}) == 1
    assert headers[0].PatientID == "patient-0001"
    assert len({each.SOPInstanceUID for each in headers}) == 3
    (referenced,) = {each.ReferencedImageSequence[0].ReferencedSOPInstanceUID for each in headers}
    original = {"1.2.9.2": headers[2]}  # the files are in the order of their names
    assert original["1.2.9.2"].SOPInstanceUID == referenced
    for header in headers:
        assert not any(str(each.value).startswith("1.2.9") for each in header.iterall())
        assert header.PatientIdentityRemoved == "YES"
        assert header.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert header.preamble == b"\0" * 128
        assert list(header.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]


def test_originals_stay_as_they_are(tmp_path: Path, pixels: Any) -> None:
    source = save(planted(ct(pixels), every=50), tmp_path / "in" / "a.dcm")
    before = source.read_bytes(), source.stat().st_mtime_ns
    assert main(["cases", "scrub", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert os.listdir(tmp_path / "in") == ["a.dcm"]


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("in", "lie in each other"),
        ("in/new", "lie in each other"),
        (".", "lie in each other"),
        ("full", "is not an empty folder"),
        ("link", "is not an empty folder"),
        ("reported", "reported.report.json exists"),
    ],
)
def test_a_folder_that_holds_anything_is_refused(tmp_path: Path, out: str, said: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "reported.report.json").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=said):
        scrub(tmp_path / "in", tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(UserError, match="is no folder; fix: "):
        scrub(tmp_path / "none", tmp_path / "new")


def test_a_name_in_a_text_that_stays_is_removed_with_it(tmp_path: Path, pixels: Any) -> None:
    data = ct(
        pixels, PatientName="Zebedeus^Quirina", PatientID="MRN0081723",
        Manufacturer="Quirina Systems", ManufacturerModelName="Model 5", BodyPartExamined="CHEST",
        ScanOptions="QUIRINA", ExposureTime="1234567", AccessionNumber="1234567",
        SequenceName="of 1862-11-03", LossyImageCompression="00",
        LossyImageCompressionMethod="ISO_10918_1",
    )  # fmt: skip
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "51440002", "SCT", "Right"
    data.AnatomicRegionSequence = Sequence([code])
    save(data, tmp_path / "in" / "a.dcm")
    (new,) = written(scrub(tmp_path / "in", tmp_path / "out")).values()
    header = pydicom.dcmread(new)
    assert header.ManufacturerModelName == "Model 5"
    assert header.BodyPartExamined == "CHEST"
    assert header.LossyImageCompressionMethod == "ISO_10918_1"
    assert header.AnatomicRegionSequence[0].CodeValue == "51440002"
    for keyword in ("Manufacturer", "ScanOptions", "SequenceName", "ExposureTime"):
        assert keyword not in header


@pytest.mark.parametrize("text", ["3-NOV-62", "Nov62", "born November 3", "3. November 1962"])
def test_a_date_with_the_name_of_its_month_is_a_date(
    tmp_path: Path, pixels: Any, text: str
) -> None:
    save(ct(pixels, LUTExplanation=text, ConvolutionKernel="B30f"), tmp_path / "in" / "a.dcm")
    (new,) = written(scrub(tmp_path / "in", tmp_path / "out")).values()
    assert "LUTExplanation" not in pydicom.dcmread(new)
    assert pydicom.dcmread(new).ConvolutionKernel == "B30f"


def test_times_of_acquisition_keep_only_their_order(tmp_path: Path, pixels: Any) -> None:
    """Two time points stay two volumes."""
    for number, time in enumerate(("101500", "101500", "093000", "093000")):
        data = ct(pixels, uid=f"1.2.9.{number}", AcquisitionTime=time, AcquisitionNumber=1)
        data.ImagePositionPatient = [0, 0, number % 2]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        save(data, tmp_path / "in" / f"{number}.dcm")
    files = written(scrub(tmp_path / "in", tmp_path / "out"))
    times = [pydicom.dcmread(path).AcquisitionTime for path in files.values()]
    assert times == ["000001", "000001", "000000", "000000"]
    for folder in ("in", "out"):
        with pytest.raises(UserError, match="holds several series"):
            medgym.open_study(tmp_path / folder)


def refused(tmp_path: Path) -> str:
    report = scrub(tmp_path / "in", tmp_path / "out")
    (file,) = report.files
    assert file.refused
    assert not list((tmp_path / "out").rglob("*.*"))
    return file.reason


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"BurnedInAnnotation": "YES"}, r"text is burnt into its pixels; fix: .*--mask-text"),
        ({"NumberOfFrames": "2"}, "cut off"),
    ],
)
def test_what_cannot_be_cleaned_is_refused(
    tmp_path: Path, pixels: Any, tags: dict[str, Any], said: str
) -> None:
    save(ct(pixels, PatientName="Zebedeus^Quirina", **tags), tmp_path / "in" / "a.dcm")
    assert main(["cases", "scrub", str(tmp_path / "in"), "--out", str(tmp_path / "once")]) == 1
    assert re.search(said, refused(tmp_path))


def test_what_lies_beside_the_pixels_goes(tmp_path: Path, pixels: Any) -> None:
    """Bytes after the pixels, and comments of compressed frames."""
    data = ct(pixels, PatientName="Zebedeus^Quirina")
    data.PixelData += b"Zebedeus 18621103."
    save(data, tmp_path / "in" / "after.dcm")
    frame = io.BytesIO()
    grey = Image.fromarray((pixels >> 4).astype(np.uint8))
    grey.save(frame, "JPEG", comment="Zebedeus 18621103", exif=b"Exif\0\0Quirina")
    data = ct(pixels, PatientName="Doe^Jane", BitsAllocated=8, BitsStored=8, HighBit=7)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([frame.getvalue()])
    save(data, tmp_path / "in" / "jpeg.dcm")
    files = written(scrub(tmp_path / "in", tmp_path / "out"))
    assert len(files) == 2
    assert traces_below(tmp_path / "in")
    assert not traces_below(tmp_path / "out")
    for name, new in files.items():
        one, other = medgym.open_study(tmp_path / "in" / name), medgym.open_study(new)
        assert np.array_equal(one.values("image", 0), other.values("image", 0))


def test_a_name_in_the_pixels_bytes_is_refused(tmp_path: Path, pixels: Any) -> None:
    data = ct(pixels, PatientName="Zebedeus^Quirina")
    data.PixelData = b"Quirina " + data.PixelData[8:]
    save(data, tmp_path / "in" / "a.dcm")
    assert "still tells whose it is in its pixels" in refused(tmp_path)


def test_an_overlay_in_the_bits_of_the_pixels_is_refused(tmp_path: Path, pixels: Any) -> None:
    data = ct(pixels, BitsStored=12, HighBit=11)
    data.add_new(0x60000010, "US", 24)
    data.add_new(0x60000102, "US", 12)
    save(data, tmp_path / "in" / "a.dcm")
    assert "an overlay in unused bits" in refused(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.nii.gz"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, pixels: Any, name: str) -> None:
    data = pictures(tmp_path / "made", pixels)[name].read_bytes()
    (tmp_path / "in").mkdir()
    end = 0.4 if name == "a.jpg" else 0.7
    (tmp_path / "in" / name).write_bytes(data[: int(len(data) * end)])
    assert not traces_in(refused(tmp_path))


def test_whole_slides_and_stacks_of_imagej_are_refused(tmp_path: Path, pixels: Any) -> None:
    (tmp_path / "in").mkdir()
    for name, text, said in (
        ("a.tif", "Aperio Image Library|AppMag = 20", "a picture of its label"),
        ("b.tif", "ImageJ=1.53\nimages=5", "only its description tells of"),
    ):
        Image.fromarray(pixels).save(tmp_path / "in" / name, description=text)
        report = scrub(tmp_path / "in", tmp_path / name)
        assert said in {each.source: each.reason for each in report.refused}[name]


def test_a_pyramid_of_tiles_is_refused_as_the_slide_that_it_is(tmp_path: Path, pixels: Any) -> None:
    pytest.importorskip("openslide")
    level = np.stack([np.kron(pixels >> 4, np.ones((16, 16), np.uint16))] * 3, -1).astype(np.uint8)
    (tmp_path / "in").mkdir()
    with tifffile.TiffWriter(tmp_path / "in" / "a.tif") as made:
        for number in range(2):
            made.write(level[:: number + 1, :: number + 1], tile=(64, 64), photometric="rgb",
                       subfiletype=number)  # fmt: skip
    assert "it is a whole slide" in refused(tmp_path)


def test_the_report_is_json_whatever_files_are_called(tmp_path: Path, pixels: Any) -> None:
    name = os.fsdecode(b"M\xfcller \xc3\xbc.dcm")
    save(ct(pixels), tmp_path / "in" / name)
    scrub(tmp_path / "in", tmp_path / "out")
    (found,) = report_of(tmp_path / "out")["files"]
    assert found["from"] == name


def test_a_full_disk_stops_it(tmp_path: Path, pixels: Any) -> None:
    save(ct(pixels, PatientName="Zebedeus^Quirina"), tmp_path / "in" / "a.dcm")
    done = subprocess.run(
        [sys.executable, "-m", "medgym", "cases", "scrub", "in", "--out", "out"],
        cwd=tmp_path, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"^medgym: cannot write out \(File too large\); fix: ", done.stderr, re.M)
    assert "Quirina" not in done.stderr + done.stdout


def test_a_missing_library_is_one_line_that_names_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    words = ["cases", "scrub", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    for library, option, extra in (
        ("onnxruntime", ["--mask-text"], "ocr"),
        ("dicomanonymizer", [], "scrub"),
    ):
        monkeypatch.setitem(sys.modules, library, None)
        assert main([*words, *option]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{library} is not installed; fix: pip install " in said
        assert f"[{extra}]" in said
        monkeypatch.delitem(sys.modules, library)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_counts_and_names_what_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cases", "scrub", str(folder / "pictures"), "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == report_of(tmp_path / "out")
    assert found["burnt-in text"]["files not looked at"] == 7
    assert found["burnt-in text"]["of which may hold some"] == 6
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["cases", "scrub", str(empty), "--out", str(tmp_path / "other")]) == 1
    assert "there was no file" in capsys.readouterr().err
