"""DICOM files that say less than they hold, or more: refused before they fill the memory."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from medgym.errors import UserError
from medgym.imaging.study import ImageRef, need_of, open_file
from medgym.memory import VARIABLE

BUDGET = 64 * 2**20
MEGABYTE = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
ZEROS = MEGABYTE.compress(bytes(2**20)) + MEGABYTE.flush(zlib.Z_FULL_FLUSH)
"""A million zeros, as deflating writes them; it may be repeated."""


def head(syntax: Any, **tags: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    given = {
        "Rows": 8, "Columns": 8, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, **tags,
    }  # fmt: skip
    for name, value in given.items():
        setattr(dataset, name, value)
    return dataset


def saved(dataset: FileDataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def deflated(path: Path, element: bytes, megabytes: int, **tags: Any) -> Path:
    """A deflated file whose last element, which begins as given, inflates to so many zeros."""
    buffer = io.BytesIO()
    dataset = head(ExplicitVRLittleEndian, **tags)
    dataset.save_as(buffer, enforce_file_format=True)
    plain = buffer.getvalue()
    start = plain.index(b"\x28\x00\x02\x00US")  # the first element after the meta information
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = plain[start:] + element + struct.pack("<L", megabytes * 2**20)
    packed = packing.compress(first) + packing.flush(zlib.Z_FULL_FLUSH)
    meta = plain[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    fixed = bytearray(meta)  # the UID is longer by two characters
    at = fixed.index(b"1.2.840.10008.1.2.1.99")
    fixed[at - 2 : at] = struct.pack("<H", 22)
    length = struct.unpack("<L", fixed[140:144])[0] + 2
    fixed[140:144] = struct.pack("<L", length)
    path.write_bytes(bytes(fixed) + packed + ZEROS * megabytes + b"\x03\x00")
    return path


PIXELS = b"\xe0\x7f\x10\x00OB\0\0"
PRIVATE = b"\x29\x00\x10\x10OB\0\0"


def rle(path: Path) -> Path:
    """A frame of 8 x 8 whose runs make 128 MB."""
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 2**20
    dataset = head(RLELossless)
    dataset.PixelData = encapsulate([frame])
    return saved(dataset, path)


def jpeg(path: Path) -> Path:
    """A frame that says 12,000 x 12,000 in a file that says 8 x 8."""
    buffer = io.BytesIO()
    Image.new("L", (512, 512)).save(buffer, "JPEG")
    side = struct.pack(">HH", 512, 512)
    assert buffer.getvalue().count(side) == 1
    dataset = head(JPEGBaseline8Bit)
    frame = buffer.getvalue().replace(side, struct.pack(">HH", 12_000, 12_000))
    dataset.PixelData = encapsulate([frame])
    return saved(dataset, path)


def jpeg2000(path: Path) -> Path:
    """A frame that says 60,000 x 60,000 in a file that says 8 x 8."""
    size = struct.pack(">HHLLLL", 41, 0, 60_000, 60_000, 0, 0)
    dataset = head(JPEG2000Lossless)
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + size + bytes(100)])
    return saved(dataset, path)


BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pixels": (lambda path: deflated(path, PIXELS, 200), "more than its header says"),
    "frames": (
        lambda path: deflated(path, PIXELS, 200, Rows=13_000, Columns=13_000),
        "beyond the 64 MiB",
    ),
    "header": (lambda path: deflated(path, PRIVATE, 200), "header of"),
    "rle": (rle, "bytes where its header says 64"),
    "jpeg": (jpeg, "12000 x 12000 pixels where its header says 8 x 8"),
    "jpeg2000": (jpeg2000, "60000 x 60000 pixels where its header says 8 x 8"),
}

OPENED = """
import json, sys
from pathlib import Path
from medgym.errors import UserError
from medgym.imaging.study import open_file

def peak():
    with open("/proc/self/status") as status:  # getrusage counts the process that started it too
        return int(status.read().partition("VmHWM:")[2].split()[0]) * 1024

open_file(Path(sys.argv[1]))  # what the decoders themselves take
before, said = peak(), []
for path in map(Path, sys.argv[2:]):
    try:
        said.append(str(open_file(path).size))
    except UserError as error:
        said.append(str(error))
print(json.dumps([peak() - before, said]))
"""


def test_bombs_are_refused_within_the_budget(tmp_path: Path) -> None:
    plain = head(ExplicitVRLittleEndian)
    plain.PixelData = bytes(64)
    harmless = saved(plain, tmp_path / "harmless.dcm")
    paths = [make(tmp_path / f"{name}.dcm") for name, (make, _) in BOMBS.items()]
    assert sum(path.stat().st_size for path in paths) < 8 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", OPENED, harmless, *paths],
        env={**os.environ, VARIABLE: str(BUDGET)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    grown, said = json.loads(done.stdout)
    for (_, want), path, line in zip(BOMBS.values(), paths, said, strict=True):
        assert want in line
        assert str(path) in line
        assert "fix: " in line
    assert grown < BUDGET


def refusal(path: Path, frame: int | None = None) -> str:
    with pytest.raises(UserError) as error:
        open_file(path, frame)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_deflated_file_opens_as_it_was(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    plain, packed = head(ExplicitVRLittleEndian), head(DeflatedExplicitVRLittleEndian)
    plain.PixelData = packed.PixelData = values.tobytes()
    want = open_file(saved(plain, tmp_path / "plain.dcm"))
    path = saved(packed, tmp_path / "packed.dcm")
    assert np.array_equal(open_file(path).pixels, want.pixels)
    assert open_file(path).window == want.window
    data = path.read_bytes()
    path.write_bytes(data[:-12])
    assert "cut off" in refusal(path)


@pytest.mark.parametrize("frames", [-3, "-1"])
def test_less_than_one_frame_is_named(tmp_path: Path, frames: Any) -> None:
    dataset = head(ExplicitVRLittleEndian, NumberOfFrames=frames)
    dataset.PixelData = bytes(64)
    text = refusal(saved(dataset, tmp_path / "a.dcm"))
    assert f"says that it holds {frames} frames; fix: correct NumberOfFrames" in text


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_compressed_file_that_is_cut_off_is_named(tmp_path: Path, share: float) -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    data = (folder / "SC_rgb_rle.dcm").read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00")
    (tmp_path / "a.dcm").write_bytes(data[: start + int((len(data) - start) * share)])
    assert "is cut off within its pixels; fix: copy it again" in refusal(tmp_path / "a.dcm")


def test_a_picture_is_read_by_what_it_holds(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10)
    for form in ("PNG", "TIFF"):
        Image.fromarray(pixels).save(tmp_path / "a.dcm", form)
        assert np.array_equal(open_file(tmp_path / "a.dcm").pixels, pixels)


def test_pydicom_s_warnings_stay_off_stderr(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    dataset = head(ExplicitVRLittleEndian, NumberOfFrames=0)  # pydicom warns that this is invalid
    dataset.PixelData = bytes(64)
    path = saved(dataset, tmp_path / "a.dcm")
    recwarn.clear()
    assert open_file(path).size == (8, 8)
    assert not recwarn.list


def test_what_opening_takes_is_known_from_the_header(tmp_path: Path) -> None:
    dataset = head(ExplicitVRLittleEndian, BitsAllocated=16, BitsStored=16, HighBit=15)
    dataset.PixelData = bytes(128)
    path = saved(dataset, tmp_path / "a.dcm")
    header = path.stat().st_size - 128  # only this and the frame are read
    assert need_of(ImageRef(uri=path.as_uri())) == header + 2 * 128 + 12 * 64
    dataset = head(DeflatedExplicitVRLittleEndian)
    dataset.PixelData = bytes(64)
    path = saved(dataset, tmp_path / "b.dcm")
    assert need_of(ImageRef(uri=path.as_uri())) == path.stat().st_size + 2 * 64 + 12 * 64
    Image.new("I;16", (10, 6)).save(tmp_path / "a.png")
    assert (
        need_of(ImageRef(uri=f"file:{tmp_path}/a.png"))
        == (tmp_path / "a.png").stat().st_size + 8 * 60
    )
    (tmp_path / "none.png").write_bytes(b"")
    assert need_of(ImageRef(uri=f"file:{tmp_path}/none.png")) == 0
