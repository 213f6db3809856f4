"""A NIfTI file without texts: those of its header, its extensions, and the name in its gzip."""

import gzip
import struct
from pathlib import Path
from typing import BinaryIO

from medgym.errors import UserError
from medgym.privacy.cleaned import Cleaned

_TEXTS = {
    348: {
        "data_type": (4, 14),
        "db_name": (14, 32),
        "descrip": (148, 228),
        "aux_file": (228, 252),
        "intent_name": (328, 344),
    },
    540: {
        "descrip": (240, 320),
        "aux_file": (320, 344),
        "intent_name": (508, 524),
        "unused_str": (525, 540),
    },
}
"""Where texts stand in the header of each version."""

_BLOCK = 2**20


def scrub_nifti(stream: BinaryIO, out: Path, cleaned: Cleaned) -> list[bytes]:
    """Write a NIfTI file without its texts; returns them.

    Raises:
        UserError: it is one of a pair of files, or damaged.
    """
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    source: BinaryIO = gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[assignment]
    header = bytearray(source.read(348))
    order = next((o for o in "<>" if struct.unpack(f"{o}i", header[:4])[0] in _TEXTS), None)
    if order is None or len(header) < 348:
        raise UserError("its header is damaged; fix: save it again")
    (version,) = struct.unpack(f"{order}i", header[:4])
    header += source.read(version - 348)
    magic = header[344:348] if version == 348 else header[4:8]
    if magic[:2] != b"n+":
        raise UserError("it is one of a pair of NIfTI files; fix: save both as one .nii file")
    start, size = _voxels(header, version, order)
    removed = []
    for name, (begin, end) in _TEXTS[version].items():
        text = bytes(header[begin:end])
        if text.strip(b"\0 "):
            removed.append(text)
            cleaned.changes[(name, "emptied")] += 1
        header[begin:end] = b"\0" * (end - begin)
    between = source.read(start - version)  # extensions: comments, or a whole DICOM header
    if between.strip(b"\0"):
        removed.append(between)
        cleaned.changes[("extension", "removed")] += 1
    with out.open("xb") as file:
        # Neither a name nor a time in the header of the gzip.
        target: BinaryIO = (
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)  # type: ignore[assignment]
            if packed
            else file
        )
        target.write(bytes(header) + b"\0" * len(between))
        left = size
        while left and (block := source.read(min(left, _BLOCK))):
            target.write(block)
            left -= len(block)
        if packed:
            target.close()
    if left or len(between) < start - version:
        raise UserError("it is cut off within its voxels; fix: copy it again")
    if source.read(1):
        cleaned.changes[("bytes after the voxels", "removed")] += 1
    return removed


def head_of(path: Path) -> bytes:
    """The bytes of a file before its voxels, and those of its gzip header."""
    with path.open("rb") as stream:
        begin = stream.read(64)
        stream.seek(0)
        packed = begin[:2] == b"\x1f\x8b"
        head = gzip.GzipFile(fileobj=stream).read(540) if packed else stream.read(540)
        return begin[:10] + head


def _voxels(header: bytes | bytearray, version: int, order: str) -> tuple[int, int]:
    """Where the voxels start, and how many bytes they take."""
    if version == 348:
        dims = struct.unpack_from(f"{order}8h", header, 40)
        (bits,) = struct.unpack_from(f"{order}h", header, 72)
        (start,) = struct.unpack_from(f"{order}f", header, 108)
    else:
        dims = struct.unpack_from(f"{order}8q", header, 16)
        (bits,) = struct.unpack_from(f"{order}h", header, 14)
        (start,) = struct.unpack_from(f"{order}q", header, 168)
    count = 1
    for each in dims[1 : 1 + dims[0]]:
        count *= each
    if not 1 <= dims[0] <= 7 or count < 1 or bits < 1 or not version <= start < 2**40:
        raise UserError("its header is damaged; fix: save it again")
    return int(start), (count * bits + 7) // 8
