"""The size that a compressed frame says is the one that a decoder finds."""

import io
import struct

import pytest
from PIL import Image

from medgym.imaging.codestream import frame_size


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + bytes(300)}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_real_frames_say_their_size(form: str, options: dict[str, object]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 41)).save(buffer, form, **options)
    assert frame_size(buffer.getvalue()) == (90, 41)


def test_a_jpeg_ls_frame_says_its_size() -> None:
    frame = b"\xff\xd8\xff\xe0" + struct.pack(">H", 4) + b"xx\xff\xff\xf7"
    assert frame_size(frame + struct.pack(">HBHHB", 11, 8, 41, 90, 1)) == (90, 41)


@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda\0\2" + bytes(20), b"\xff\x4f\xff\x51", bytes(99)]
)
def test_what_does_not_say_is_not_guessed(frame: bytes) -> None:
    assert frame_size(frame) is None
