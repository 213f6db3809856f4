"""PNG, JPEG, WebP and BMP files without metadata; what holds the pixels stays byte for byte."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.imaging_study import Region
from medgym.imaging.study import open_study
from medgym.memory import image_memory, readable
from medgym.privacy.burnt_in import TextFinder, boxes_of, masked
from medgym.privacy.cleaned import Cleaned
from medgym.privacy.identifiers import words_of
from medgym.privacy.nifti import head_of, scrub_nifti
from medgym.privacy.tiff import scrub_tiff

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

_CHUNKS = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD hIST pHYs acTL fcTL fdAT".split()
)
_RIFF = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))
_METADATA_FLAGS = 0x20 | 0x08 | 0x04
"""The flags by which a WebP says that it has a colour profile, EXIF and XMP."""

_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE


_DRAWN = "a picture, which says nothing of it"


def scrub_picture_file(
    path: Path, kind: str, out: Path, suffix: str, finder: TextFinder | None
) -> tuple[Cleaned, str]:
    """Write a picture or a NIfTI file to `out` without what it says beside its pixels.

    A picture of which text is masked becomes a PNG.

    Returns:
        What was taken out, and how the name of the new file ends.

    Raises:
        UserError: it is damaged, or something that it said would be left.
    """
    cleaned = Cleaned(drawn="" if kind == "NIfTI" else _DRAWN)
    with open_regular(path, "image") as stream:
        if kind == "NIfTI":
            removed = scrub_nifti(stream, out, cleaned)
            _refuse_left(head_of(out), removed, path)
            return cleaned, suffix
        size = path.stat().st_size
        if 3 * size > image_memory():
            raise UserError(
                f"{path} takes more memory than {readable(image_memory())}; fix: cut it"
            )
        data = stream.read()
    if kind == "TIFF":
        again, removed = scrub_tiff(data, cleaned)
    else:
        again, removed = scrub_picture(data, cleaned)
    if finder is not None:
        cleaned.boxes = boxes_of(open_study(path), finder)
        if cleaned.boxes:
            again, suffix = _masked_png(path, cleaned.boxes), ".png"
            cleaned.notes.append("written as PNG")
    _refuse_left(again, removed, path)
    with out.open("xb") as target:
        target.write(again)
    return cleaned, suffix


def _refuse_left(data: bytes, removed: list[bytes], path: Path) -> None:
    if words_of(removed).are_in_bytes(data):
        raise UserError(f"{path} still holds what it said of itself; fix: save it again as PNG")


def _masked_png(path: Path, boxes: tuple[Region, ...]) -> bytes:
    study = open_study(path)
    if sum(plane.count for plane in study.planes.values()) > 1:
        raise UserError(f"{path} has several images, with text; fix: save each as a file")
    (plane,) = study.planes
    image = study.image(plane, 0)
    pixels = image.pixels
    if image.window is not None and image.window.inverted:
        raise UserError(f"{path} has white for 0, and text; fix: save it as PNG first")
    if pixels.dtype != np.uint8:
        whole = pixels.astype(np.uint16)
        if pixels.ndim != 2 or not np.array_equal(whole, pixels):
            raise UserError(f"{path} has text, and values that no PNG has; fix: save it as PNG")
        pixels = whole
    again = io.BytesIO()
    Image.fromarray(masked(pixels, boxes, pixels.min())).save(again, "PNG")
    return again.getvalue()


def scrub_picture(data: bytes, cleaned: Cleaned) -> tuple[bytes, list[bytes]]:
    """The bytes of a PNG, JPEG, WebP or BMP file without metadata, and the metadata.

    Raises:
        UserError: the file is damaged.
    """
    if data.startswith(PNG):
        return _filtered(_png(data, cleaned))
    if data.startswith(JPEG):
        return _filtered(_jpeg(data, cleaned))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kept, removed = _filtered(_webp(data, cleaned))
        return b"RIFF" + struct.pack("<I", len(kept) + 4) + b"WEBP" + kept, removed
    return _bmp(data, cleaned), []


Pieces = Iterator[tuple[bytes, bool]]
"""The pieces of a file, and whether each stays."""


def _filtered(pieces: Pieces) -> tuple[bytes, list[bytes]]:
    kept, removed = bytearray(), []
    for piece, stays in pieces:
        if stays:
            kept += piece
        else:
            removed.append(piece)
    return bytes(kept), removed


def _png(data: bytes, cleaned: Cleaned) -> Pieces:
    yield PNG, True
    at = len(PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, end = data[at + 4 : at + 8], at + 12 + length
        stays = kind in _CHUNKS
        if not stays:
            cleaned.changes[(kind.decode("latin-1"), "removed")] += 1
        if end > len(data):
            raise _cut()
        yield data[at:end], stays
        at = end
        if kind == b"IEND":
            yield from _rest(data[at:], cleaned)
            return
    raise _cut()


def _jpeg(data: bytes, cleaned: Cleaned) -> Pieces:
    yield data[:2], True
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise _cut()
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _END:
            yield data[at : at + 2], True
            yield from _rest(data[at + 2 :], cleaned)
            return
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        end = at + 2 + length
        if end > len(data):
            raise _cut()
        segment = data[at:end]
        name = "COM" if marker == _COMMENT else f"APP{marker - 0xE0}"
        if marker == _COMMENT or 0xE0 <= marker <= 0xEF:
            kept = _application(segment, marker)
            if kept != segment:
                cleaned.changes[(name, "removed")] += 1
                yield segment, False
            yield kept, True
        else:
            yield segment, True
        if marker == _SCAN:
            begin, end = end, _scan_end(data, end)
            yield data[begin:end], True
        at = end
    if at == len(data) - 2 and data[at:] == b"\xff\xd9":
        yield data[at:], True
        return
    raise _cut()


def _application(segment: bytes, marker: int) -> bytes:
    """What stays of an application's segment: that of JFIF without its thumbnail, and Adobe's,
    which says what the colours are."""
    if marker == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
        return segment[:2] + b"\0\x10" + segment[4:16] + b"\0\0"
    if marker == 0xEE and segment[4:9] == b"Adobe":
        return segment if len(segment) == 16 else b""
    return b""


def _scan_end(data: bytes, at: int) -> int:
    """Where the compressed data of a scan ends."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise _cut()
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
            at += 2
        elif data[at + 1] == 0xFF:
            at += 1
        else:
            return at


def _webp(data: bytes, cleaned: Cleaned) -> Pieces:
    (size,) = struct.unpack("<I", data[4:8])
    stop, at = min(len(data), 8 + size), 12
    while at + 8 <= stop:
        kind = data[at : at + 4]
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        end = at + 8 + length + length % 2
        piece = data[at:end].ljust(8 + length + length % 2, b"\0")
        if end - length % 2 > len(data):
            raise _cut()
        if kind == b"VP8X":
            piece = piece[:8] + bytes([piece[8] & ~_METADATA_FLAGS]) + piece[9:]
        if kind not in _RIFF:
            cleaned.changes[(kind.decode("latin-1").strip(), "removed")] += 1
        yield piece, kind in _RIFF
        at = end
    yield from _rest(data[stop:], cleaned)


def _bmp(data: bytes, cleaned: Cleaned) -> bytes:
    """A BMP has no metadata but what stands between its parts and behind them: it is written again
    from its pixels."""
    again = io.BytesIO()
    with Image.open(io.BytesIO(data), formats=("BMP",)) as picture:
        picture.load()
        picture.save(again, "BMP")
    if again.getvalue() != data:
        cleaned.changes[("header", "replaced")] += 1
    return again.getvalue()


def _rest(data: bytes, cleaned: Cleaned) -> Pieces:
    """What stands behind the end of a picture."""
    if data.strip(b"\0"):
        cleaned.changes[("bytes after the end", "removed")] += 1
        yield data, False


def _cut() -> UserError:
    return UserError("it is cut off; fix: copy it again")
