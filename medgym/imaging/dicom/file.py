"""A DICOM file: its header, and where its pixels are.

Nothing is read but the header until a frame is asked for. A deflated file is inflated only as far
as its own header says. A file without a preamble is read where it begins as a data set does.
"""

import io
import logging
import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.dicom.deflated import Deflated
from medgym.imaging.limits import refuse_bomb

_PER_PIXEL = {"YBR": 32, "PALETTE": 24}
"""Bytes that a pixel takes while it is converted and shown, by how its colour is stored; grey and
RGB take `_SHALLOW`, or `_DEEP` where a sample has more than 16 bits."""

_SHALLOW, _DEEP = 12, 40

PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}

_REPRESENTATIONS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR "
    b"US UT UV"
).split()
_LONG = set(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""The value representations, and those whose length has four bytes."""

UNDEFINED = 0xFFFFFFFF

MOST_ELEMENTS = 20_000
"""The most elements of a header that are read, where a sequence counts as one."""

DEFLATED = "1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class Claim:
    """What a header says of the pixels.

    `frame_bytes` is what one frame takes uncompressed, `working_bytes` what the decoders, the
    conversions and the finished image take at their most.
    """

    width: int
    height: int
    frames: int
    frame_bytes: int
    working_bytes: int

    @property
    def total(self) -> int:
        """Bytes of all frames."""
        return self.frame_bytes * self.frames

    def need(self, size: int) -> int:
        """Bytes of memory that opening one frame takes, and `size` bytes of the file for it."""
        return size + 2 * self.frame_bytes + self.working_bytes


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels are: the keyword of their element, where its value starts, how long it is
    (`UNDEFINED` for encapsulated frames), and its value representation."""

    keyword: str
    start: int
    length: int
    representation: str


class DicomFile:
    """The header of a file with pixels.

    Attributes:
        header: all elements before the pixels.
        claim: what it says of them.
        syntax: the UID of the transfer syntax.
        implicit, little: how elements are written.

    Raises:
        UserError: the file has no pixels, or more of anything than it may.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        from pydicom.errors import InvalidDicomError
        from pydicom.filereader import read_partial

        quiet()
        head = stream.read(132)
        if head[128:] != b"DICM" and not begins_a_data_set(head):
            raise InvalidDicomError
        self.path = path
        self._stamp = _stamp(stream)
        self.size = self._stamp[1]
        self._deflated: Deflated | None = None
        plain: BinaryIO = stream
        meta = _meta(stream)
        if meta is not None and meta.get("TransferSyntaxUID") == DEFLATED:
            self._deflated = Deflated(stream, path, self.size, meta, BeforePixels(path))
            self.header, plain = self._deflated.header, self._deflated.beginning
            self.implicit, self.little = False, True
        else:
            stream.seek(0)
            self.header = read_partial(stream, BeforePixels(path), force=True)
            implicit, little = self.header.original_encoding
            self.implicit, self.little = bool(implicit), little is not False
        element = _pixel_element(plain, self.implicit, self.little)
        if "Rows" not in self.header or "Columns" not in self.header or element is None:
            raise UserError(f"{path} is a DICOM file without pixels; fix: choose an image object")
        self.element = element
        self.syntax = self._transfer_syntax()
        self.compressed = bool(self.syntax.is_compressed) and not self.syntax.is_deflated
        self.claim = self._claim()

    @property
    def need(self) -> int:
        """Bytes of memory that opening one frame takes."""
        whole = self.compressed or self._deflated is not None or not self.little
        return self.claim.need(self.size if whole else self.element.start)

    def stream(self) -> BinaryIO:
        """The file again, with elements as they are before deflation.

        Raises:
            UserError: it has changed since its header was read.
        """
        stream = open_regular(self.path, "image")
        try:
            if _stamp(stream) != self._stamp:
                raise UserError(f"{self.path} changed while it was read; fix: open it again")
            if self._deflated is not None:
                with stream:
                    return io.BytesIO(self._deflated.whole(stream, self.claim.total))
        except BaseException:
            stream.close()
            raise
        return stream

    def _transfer_syntax(self) -> Any:
        from pydicom import uid

        meta = getattr(self.header, "file_meta", None)
        known = None if meta is None else meta.get("TransferSyntaxUID")
        if known:
            return uid.UID(known)
        if self.element.length == UNDEFINED:
            raise UserError(
                f"{self.path} does not say how its pixels are compressed; fix: export it again"
            )
        if self.implicit:
            return uid.ImplicitVRLittleEndian
        return uid.ExplicitVRLittleEndian if self.little else uid.ExplicitVRBigEndian

    def _whole(self, keyword: str, otherwise: int) -> int:
        try:
            return int(self.header.get(keyword) or otherwise)
        except (TypeError, ValueError, OverflowError):
            raise UserError(
                f"{keyword} of {self.path} is not a whole number; fix: correct it"
            ) from None

    def _claim(self) -> Claim:
        width, height = self._whole("Columns", 0), self._whole("Rows", 0)
        if min(width, height) < 1:
            raise UserError(f"{self.path} says that it has no pixels; fix: export it again")
        refuse_bomb(self.path, width, height)
        samples, bits = self._whole("SamplesPerPixel", 1), self._whole("BitsAllocated", 8)
        frames = self._whole("NumberOfFrames", 1)
        space = str(self.header.get("PhotometricInterpretation"))
        plain = (_DEEP if bits > 16 else _SHALLOW) * samples
        per_pixel = next((n for start, n in _PER_PIXEL.items() if space.startswith(start)), plain)
        if self.compressed:
            per_pixel += 8 * samples
        stored = 2 if space == "YBR_FULL_422" and not self.compressed else samples
        frame_bytes = -(-width * height * stored * bits // 8)
        return Claim(width, height, frames, frame_bytes, per_pixel * width * height)


def is_dicom(head: bytes, *, named: bool) -> bool:
    """Whether a file is DICOM, by its first 132 bytes; where they do not tell, by its name."""
    return head[128:132] == b"DICM" or begins_a_data_set(head) or named


def begins_a_data_set(head: bytes) -> bool:
    """Whether a file begins with an element that a data set without a preamble begins with: one of
    the meta information or of the identification, of a known representation or a short length."""
    if len(head) < 12:
        return False
    for order in "<>":
        group, element = struct.unpack(f"{order}HH", head[:4])
        if not (group == 2 and element <= 0x0102) and not (group == 8 and element <= 0x0070):
            continue
        (length,) = struct.unpack(f"{order}L", head[4:8])
        if head[4:6] in _REPRESENTATIONS or (group == 8 and length <= 256 and length % 2 == 0):
            return True
    return False


def quiet() -> None:
    """What pydicom warns of is no business of stderr or of a log, for it quotes the header. A file
    is opened, or refused in one line.

    The filter stays: putting the old filters back is not safe while other threads decode.
    """
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")


def _meta(stream: BinaryIO) -> Any:
    """The file's meta information, behind which the stream stands; None where it has none."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    stream.seek(0)
    start = 132 if stream.read(132)[128:] == b"DICM" else 0
    stream.seek(start)
    if stream.read(2) != b"\x02\x00":
        return None
    stream.seek(start)
    found = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    return FileMetaDataset(found)


class BeforePixels:
    """Tells pydicom where a header ends: before its pixels, and after `MOST_ELEMENTS` at the most.

    A header that is overwritten with zeros has an element every eight bytes.
    """

    def __init__(self, name: object) -> None:
        self._name = name
        self._count = 0

    def __call__(self, tag: int, representation: str | None, length: int) -> bool:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise UserError(
                f"the header of {self._name} has more than {MOST_ELEMENTS:,} elements; fix: export "
                "it again"
            )
        return int(tag) in PIXELS


def _stamp(stream: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(stream.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


def _pixel_element(stream: BinaryIO, implicit: bool, little: bool) -> PixelElement | None:
    """The element at which the stream stands; None where it is none of pixels."""
    start = stream.tell()
    head = stream.read(12)
    order = "<" if little else ">"
    if len(head) < 8:
        return None
    group, element = struct.unpack(f"{order}HH", head[:4])
    keyword = PIXELS.get(group << 16 | element)
    if keyword is None:
        return None
    if implicit:
        (length,) = struct.unpack(f"{order}L", head[4:8])
        return PixelElement(keyword, start + 8, length, "OW")
    representation = head[4:6]
    if representation in _LONG:
        if len(head) < 12:
            return None
        (length,) = struct.unpack(f"{order}L", head[8:12])
        return PixelElement(keyword, start + 12, length, representation.decode())
    (length,) = struct.unpack(f"{order}H", head[6:8])
    return PixelElement(keyword, start + 8, length, "OW")
