"""Compressed frames without what they say beside their pixels; nothing in them moves."""

import re

_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_KEPT_SEGMENTS = (0xE0, 0xE8, 0xEE)
"""Segments that say how a frame is to be decoded: of JFIF, SPIFF and Adobe."""

_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]", re.DOTALL)
"""What ends the data of a scan."""

JPEG, JPEG2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_TILE, _TILE_DATA, _CODESTREAM_END, _CODESTREAM_COMMENT = 0xFF90, 0xFF93, 0xFFD9, 0xFF64


def without_comments(encapsulated: bytes) -> bytes:
    """Encapsulated frames with zeros in the place of comments of JPEG and JPEG 2000 frames, and of
    what stands behind the end of a frame.

    Nothing moves, so tables of where the frames begin stay right, and so do the frames.
    """
    data = bytearray(encapsulated)
    at, table = 0, True
    ended: bool | None = None
    while at + 8 <= len(data) and data[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        start, end = at + 8, min(at + 8 + length, len(data))
        if data.startswith(JPEG, start):
            ended = empty_jpeg(data, start, end)
        elif data.startswith(JPEG2000, start):
            ended = _empty_codestream(data, start, end)
        elif ended is False:  # the frame goes on
            ended = _empty_after(data, data.find(b"\xff\xd9", start, end), end)
        elif ended and not table:
            data[start:end] = b"\0" * (end - start)
        at, table = end, False
    return bytes(data)


def empty_jpeg(data: bytearray, at: int, end: int) -> bool:
    """Put zeros in the place of what a JPEG file from `at` to `end` says beside its pixels.

    Returns:
        Whether the end of the picture was found.
    """
    at += 2
    while at + 2 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _END:
            return _empty_after(data, at, end)
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if after > end:
            return False
        if marker == _COMMENT or (0xE0 <= marker <= 0xEF and marker not in _KEPT_SEGMENTS):
            data[at + 4 : after] = b"\0" * (after - at - 4)
        if marker == _SCAN:
            found = _MARKER.search(data, after, end)
            if found is None:
                return False
            after = found.start()
        at = after
    return False


def _empty_codestream(data: bytearray, at: int, end: int) -> bool:
    at, tile_end = at + 2, end
    while at + 2 <= end:
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == _CODESTREAM_END:
            return _empty_after(data, at, end)
        if marker == _TILE_DATA:
            at = tile_end
            continue
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker < 0xFF00 or after > end:
            return False
        if marker == _TILE:
            size = int.from_bytes(data[at + 6 : at + 10], "big")
            tile_end = at + size if size >= 14 else max(data.rfind(b"\xff\xd9", at, end), after)
        elif marker == _CODESTREAM_COMMENT:
            data[at + 6 : after] = b"\0" * (after - at - 6)
        at = after
    return False


def _empty_after(data: bytearray, at: int, end: int) -> bool:
    """Put zeros behind the marker at `at`; whether there is one."""
    if at < 0:
        return False
    data[at + 2 : end] = b"\0" * (end - at - 2)
    return True
