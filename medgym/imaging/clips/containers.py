"""Which files are clips, and whether they are whole, by how their containers are built.

FFmpeg plays what is left of a file that is cut off, without a word. So this is checked first.
"""

import os
import struct
from typing import BinaryIO

_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ", b"jp2 ", b"jpx ")
"""Pictures that begin as an MP4 file does."""

_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip")
_MATROSKA, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_MOST_BOXES = 100_000


def demuxer_of(head: bytes) -> str | None:
    """What FFmpeg calls the kind of container that begins so; None where it is no clip."""
    if head.startswith(_MATROSKA):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    kind = head[4:8]
    if (kind == b"ftyp" and head[8:12] not in _BRANDS) or kind in _BOXES:
        return "mov"
    return None


def is_whole(stream: BinaryIO, demuxer: str) -> bool:
    """Whether a file has as many bytes as it says. One that says nothing may be whole."""
    size = os.fstat(stream.fileno()).st_size
    stream.seek(0)
    if demuxer == "avi":
        return _riff_is_whole(stream, size)
    return _boxes_are_whole(stream, size) if demuxer == "mov" else _segment_is_whole(stream, size)


def _riff_is_whole(stream: BinaryIO, size: int) -> bool:
    (length,) = struct.unpack("<L", stream.read(8)[4:])
    return int(length) + 8 <= size


def _boxes_are_whole(stream: BinaryIO, size: int) -> bool:
    at, kinds = 0, set()
    for _ in range(_MOST_BOXES):
        if at >= size:
            break
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            # Some programs end a file with a few zeros.
            return b"moov" in kinds and not head.strip(b"\0")
        (length,), kind = struct.unpack(">L", head[:4]), head[4:8]
        if length == 1:
            if len(head) < 16:
                return False
            (length,) = struct.unpack(">Q", head[8:])
        elif length == 0:
            length = size - at
        if length < 8 or at + length > size:
            return False
        kinds.add(kind)
        at += length
    return b"moov" in kinds


def _segment_is_whole(stream: BinaryIO, size: int) -> bool:
    stream.seek(4)
    length = _number(stream)
    if length is None:
        return False
    stream.seek(stream.tell() + length)
    if stream.read(4) != _SEGMENT:
        return False
    length = _number(stream)
    return length is None or stream.tell() + length <= size


def _number(stream: BinaryIO) -> int | None:
    """A length as Matroska writes it; None where it is unknown."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()
    rest = stream.read(count)
    value = first[0] & ((1 << (7 - count)) - 1)
    is_unknown = value == (1 << (7 - count)) - 1 and rest == b"\xff" * count
    return None if is_unknown else int.from_bytes(bytes([value]) + rest, "big")
