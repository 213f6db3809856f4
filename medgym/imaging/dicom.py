"""DICOM files: read whole only after their headers say that they fit.

A deflated file is inflated only as far as its own header says, and a compressed frame is decoded
only where it is as large as the file says.
"""

import io
import os
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from medgym.errors import UserError
from medgym.imaging.codestream import frame_size
from medgym.imaging.limits import chosen_frame, make_room, refuse_bomb
from medgym.memory import VARIABLE, image_memory, readable

HEADER = 16 * 2**20
"""Bytes to which a deflated file's header may inflate, and what may follow its pixels."""

_PER_PIXEL = {"YBR": 32, "PALETTE": 16, "RGB": 10}
"""Bytes that a pixel takes while it is converted and shown, by how its colour is stored. Grey takes
8: as float32, and once more while it is inverted."""

_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}


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
        """Bytes of memory that opening one frame takes, of a file of `size` bytes."""
        return size + 2 * self.frame_bytes + self.working_bytes


def need_of(stream: BinaryIO, path: Path, frame: int | None) -> int:
    """Bytes of memory that opening a frame takes, from the header alone. Errors as in `read`."""
    _quiet()
    header, size, _ = _header(stream, path)
    claim = _claim(header, path)
    chosen_frame(path, frame, claim.frames)
    return claim.need(size)


def read(stream: BinaryIO, path: Path, frame: int | None) -> tuple[Any, Any]:
    """The data set of a file, and the stored pixels of one frame; YBR is converted to RGB.

    Raises:
        UserError: the file has no pixels, no such frame, or more of anything than it may.
    """
    from pydicom.pixels import pixel_array

    _quiet()
    header, size, rest = _header(stream, path)
    claim = _claim(header, path)
    chosen = chosen_frame(path, frame, claim.frames)
    make_room(path, claim.need(size))
    dataset = _whole(stream, path) if rest is None else rest.whole(claim)
    if not any(name in dataset for name in _PIXELS.values()):
        raise UserError(f"{path} is cut off within its pixels; fix: copy it again")
    _check_frame(dataset, path, claim, chosen)
    return dataset, pixel_array(dataset, index=chosen)


def _quiet() -> None:
    """What pydicom warns of is no business of stderr: a file is opened, or refused in one line.

    The filter stays: putting the old filters back is not safe while other threads decode.
    """
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")


def _claim(header: Any, path: Path) -> Claim:
    width, height = int(header.Columns), int(header.Rows)
    refuse_bomb(path, width, height)
    samples = int(header.get("SamplesPerPixel") or 1)
    bits = int(header.get("BitsAllocated") or 8)
    frames = int(header.get("NumberOfFrames") or 1)
    space = str(header.get("PhotometricInterpretation"))
    per_pixel = next((n for start, n in _PER_PIXEL.items() if space.startswith(start)), 8)
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    if syntax is not None and syntax.is_compressed:
        per_pixel += 8 * samples
    frame_bytes = -(-width * height * samples * bits // 8)
    return Claim(width, height, frames, frame_bytes, per_pixel * width * height)


def _header(stream: BinaryIO, path: Path) -> "tuple[Any, int, _Deflated | None]":
    """All that stands before the pixels, the file's size, and what is still to be inflated."""
    import pydicom
    from pydicom.filereader import read_preamble

    size = os.fstat(stream.fileno()).st_size
    read_preamble(stream, force=False)
    rest = None
    if _syntax(stream).get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        rest = _Deflated(stream, path, size)
        header, has_pixels = rest.header, rest.has_pixels
    else:
        stream.seek(0)
        header = pydicom.dcmread(stream, stop_before_pixels=True)
        has_pixels = bool(stream.read(1))
    if "Rows" not in header or "Columns" not in header or not has_pixels:
        raise UserError(f"{path} is a DICOM file without pixels; fix: choose an image object")
    return header, size, rest


def _syntax(stream: BinaryIO) -> Any:
    """The file's meta information; the stream stands behind it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    found = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    return FileMetaDataset(found)


def _whole(stream: BinaryIO, path: Path) -> Any:
    import pydicom

    stream.seek(0)
    return pydicom.dcmread(stream)


class _Deflated:
    """A deflated file, inflated as far as its header, and no further than that says.

    Attributes:
        header: what stands before the pixels.
        has_pixels: whether anything follows.
    """

    def __init__(self, stream: BinaryIO, path: Path, size: int) -> None:
        self._path = path
        make_room(path, 2 * size)
        self._size = size
        stream.seek(0)
        from pydicom.filereader import read_preamble

        read_preamble(stream, force=False)
        self._meta = _syntax(stream)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._head = self._inflater.decompress(stream.read(), HEADER)
        plain = io.BytesIO(self._head)
        self.header = _parsed(plain, stop=True)
        self.has_pixels = bool(plain.read(1))
        if not self.has_pixels and not self._inflater.eof and not self._inflater.unconsumed_tail:
            raise UserError(f"{path} is cut off; fix: copy it again")
        if not self.has_pixels and self._inflater.unconsumed_tail:
            raise UserError(
                f"the header of {path} inflates to more than {readable(HEADER)}; fix: replace it"
            )

    def whole(self, claim: Claim) -> Any:
        """The data set; `UserError` where it inflates to more than its header says."""
        from pydicom.dataset import FileDataset

        if self._size + 2 * claim.total > image_memory():
            raise UserError(
                f"{self._path} inflates to {readable(claim.total)}, beyond the "
                f"{readable(image_memory())} for images; fix: store it without deflating, or "
                f"raise {VARIABLE}"
            )
        most = max(1, claim.total + 2 * HEADER - len(self._head))
        plain = self._head + self._inflater.decompress(self._inflater.unconsumed_tail, most)
        if self._inflater.unconsumed_tail:
            raise UserError(
                f"{self._path} inflates to more than its header says "
                f"({readable(claim.total)} of pixels); fix: replace it"
            )
        if not self._inflater.eof:
            raise UserError(f"{self._path} is cut off within its pixels; fix: copy it again")
        dataset = FileDataset(
            str(self._path),
            _parsed(io.BytesIO(plain), stop=False),
            file_meta=self._meta,
            is_implicit_VR=False,
            is_little_endian=True,
        )
        return dataset


def _parsed(plain: io.BytesIO, *, stop: bool) -> Any:
    from pydicom.filereader import read_dataset

    return read_dataset(
        plain,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=(lambda tag, vr, length: int(tag) in _PIXELS) if stop else None,
    )


def _check_frame(dataset: Any, path: Path, claim: Claim, chosen: int) -> None:
    """`UserError` where a compressed frame is not as large as the header says."""
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed or "PixelData" not in dataset:
        return
    frame = b""
    with suppress(Exception):  # what cannot be found is not decoded either, and named there
        offsets = None
        if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
            offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
        frame = get_frame(
            dataset.PixelData, chosen, number_of_frames=claim.frames, extended_offsets=offsets
        )
    if syntax == RLELossless:
        # A run of one byte takes two, so more than twice the pixels is not what they need.
        if len(frame) > 2 * claim.frame_bytes + 2**16:
            raise UserError(
                f"a frame of {path} has {len(frame):,} bytes where its header says "
                f"{claim.frame_bytes:,}; fix: replace it"
            )
        return
    found = frame_size(frame)
    if found not in (None, (claim.width, claim.height)):
        assert found is not None
        raise UserError(
            f"a frame of {path} is {found[0]} x {found[1]} pixels where its header says "
            f"{claim.width} x {claim.height}; fix: replace it"
        )
