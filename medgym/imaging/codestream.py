"""The size of a compressed frame, as its own header says, without decoding it.

A DICOM file says how large its frames are, and a compressed frame says it once more. A decoder
believes the frame, so a frame that says more than its file is refused before it is decoded.
"""

from collections.abc import Iterator

_SIZE_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG and JPEG-LS after which the frame's size stands."""

_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers of JPEG without a length."""

_SCAN = 0xDA


def frame_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG, JPEG-LS or JPEG 2000 frame; None where it does not say."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg_size(frame)
    if frame[:2] == b"\xff\x4f":
        return _jpeg2000_size(frame)
    if frame[4:8] == b"jP  ":
        start = next((at for kind, at in _boxes(frame) if kind == b"jp2c"), None)
        return None if start is None else _jpeg2000_size(frame[start : start + 64])
    return None


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _SIZE_MARKERS:
            height, width = _number(frame[at + 5 : at + 7]), _number(frame[at + 7 : at + 9])
            return (width, height) if width and height else None
        elif marker == _SCAN:
            return None
        else:
            at += 2 if marker in _ALONE else 2 + _number(frame[at + 2 : at + 4])
    return None


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    if frame[:4] != b"\xff\x4f\xff\x51" or len(frame) < 24:
        return None
    right, bottom, left, top = (_number(frame[at : at + 4]) for at in range(8, 24, 4))
    return right - left, bottom - top


def _boxes(frame: bytes) -> Iterator[tuple[bytes, int]]:
    """The boxes of a JP2 file: the kind of each, and where its content begins."""
    at = 0
    while at + 8 <= len(frame):
        length, head = _number(frame[at : at + 4]), 8
        if length == 1:
            length, head = _number(frame[at + 8 : at + 16]), 16
        yield frame[at + 4 : at + 8], at + head
        if length < head:  # 0 is the last box
            return
        at += length


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def webp_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) of a WebP file by its first 30 bytes; None for another file."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        return width + 1, height + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return width, height
