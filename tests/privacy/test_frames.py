"""What lies in compressed frames and pieces beside their pixels goes; the pixels stay."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit

import medgym
from medgym.privacy.scrub import scrub

from .conftest import ct, save, traces_below

SAID = b"Zebedeus 18621103"


def jpeg(pixels: Any, **how: Any) -> bytes:
    to = io.BytesIO()
    Image.fromarray(pixels).save(to, "JPEG", **how)
    return to.getvalue()


def codestream() -> bytes:
    """A JPEG 2000 frame with a comment."""
    data = pydicom.dcmread(str(get_testdata_file("JPEG2000.dcm", download=False)))
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    at = frame.index(b"\xff\x52")
    comment = b"\xff\x64" + struct.pack(">HH", len(SAID) + 4, 1) + SAID
    return frame[:at] + comment + frame[at:]


@pytest.mark.parametrize(
    "place", ["comment", "behind the end", "a piece of its own", "between two scans"]
)
def test_texts_in_frames_become_zeros(tmp_path: Path, pixels: Any, place: str) -> None:
    if place == "comment":
        data = pydicom.dcmread(str(get_testdata_file("JPEG2000.dcm", download=False)))
        data.PixelData = encapsulate([codestream()])
    else:
        grey = (pixels >> 4).astype(np.uint8)
        frame = jpeg(grey, progressive=place == "between two scans")
        data = ct(pixels, BitsAllocated=8, BitsStored=8, HighBit=7)
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        if place == "behind the end":
            frame += SAID
        elif place == "between two scans":
            at = frame.index(b"\xff\xda", frame.index(b"\xff\xda") + 2)
            frame = frame[:at] + b"\xff\xfe" + struct.pack(">H", len(SAID) + 2) + SAID + frame[at:]
        data.PixelData = encapsulate([frame])
        if place == "a piece of its own":
            data.PixelData += b"\xfe\xff\x00\xe0" + struct.pack("<I", 18) + SAID + b"."
    save(data, tmp_path / "in" / "a.dcm")
    (one,) = scrub(tmp_path / "in", tmp_path / "out").written
    assert traces_below(tmp_path / "in")
    assert not traces_below(tmp_path / "out")
    before = medgym.open_study(tmp_path / "in" / "a.dcm")
    after = medgym.open_study(tmp_path / "out" / str(one.out))
    assert np.array_equal(before.values("image", 0), after.values("image", 0))


def test_comments_in_the_pieces_of_a_tiff_become_zeros(tmp_path: Path, pixels: Any) -> None:
    piece = jpeg((pixels >> 4).astype(np.uint8), comment=SAID)
    height, width = pixels.shape
    tags = ((256, width), (257, height), (258, 8), (259, 7), (262, 1), (273, 10 + 9 * 12 + 4),
            (277, 1), (278, height), (279, len(piece)))  # fmt: skip
    data = b"II*\0" + struct.pack("<IH", 8, len(tags))
    data += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tif").write_bytes(data + bytes(4) + piece)
    (one,) = scrub(tmp_path / "in", tmp_path / "out").written
    assert traces_below(tmp_path / "in")
    assert not traces_below(tmp_path / "out")
    before = medgym.open_study(tmp_path / "in" / "a.tif")
    after = medgym.open_study(tmp_path / "out" / str(one.out))
    assert np.array_equal(before.values("image", 0), after.values("image", 0))


def test_a_number_below_the_root_of_the_standard_is_no_uid_of_it(
    tmp_path: Path, pixels: Any
) -> None:
    data = ct(pixels)
    data.ReferencedSOPInstanceUID = "1.2.840.10008.18621103.81723"
    save(data, tmp_path / "in" / "a.dcm")
    (one,) = scrub(tmp_path / "in", tmp_path / "out").written
    new = pydicom.dcmread(tmp_path / "out" / str(one.out))
    assert new.SOPClassUID == data.SOPClassUID
    assert "18621103" not in str(new)


def test_a_gif_is_refused_by_name(tmp_path: Path, pixels: Any) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray((pixels >> 4).astype(np.uint8)).save(tmp_path / "in" / "a.gif", comment=SAID)
    (one,) = scrub(tmp_path / "in", tmp_path / "out").refused
    assert one.reason == "it is a GIF; fix: save its frames as PNG"
