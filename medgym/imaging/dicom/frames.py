"""The stored values of a frame: only the rows asked for where the file is not compressed.

A compressed frame is decoded only if it is as large as the file says.
"""

import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.codestream import frame_size
from medgym.imaging.dicom.file import UNDEFINED, DicomFile

_FLOATS = {"FloatPixelData": 4, "DoubleFloatPixelData": 8}
_DESCRIPTION = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip
"""What a decoder has to know."""

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def stored_values(file: DicomFile, index: int, top: int, bottom: int) -> NDArray[Any]:
    """The rows `top` to `bottom` of a frame: (rows, columns), or (rows, columns, 3) of colours.

    YBR is converted to RGB. Bits that do not belong to the values are cut off.

    Raises:
        UserError: the file is cut off, or a frame is not what its header says.
    """
    with file.stream() as stream:
        if file.compressed:
            pixels = _decoded(file, _compressed(file, stream, index))
        elif not file.little:
            pixels = _big_endian(file, stream, index)
        elif _samples(file) == 1:
            return _native(file, stream, index, top, bottom)
        else:
            claim = file.claim
            frame = _bytes(file, stream, index * claim.frame_bytes, claim.frame_bytes)
            pixels = _decoded(file, frame)
    width, height = file.claim.width, file.claim.height
    if pixels.shape[:2] != (height, width) or pixels.shape[2:] not in ((), (3,)):
        raise UserError(f"{file.path} has pixels of another form than it says; fix: replace it")
    return pixels[top:bottom]


def _samples(file: DicomFile) -> int:
    return int(file.header.get("SamplesPerPixel") or 1)


def _native(file: DicomFile, stream: BinaryIO, index: int, top: int, bottom: int) -> NDArray[Any]:
    header, width, height = file.header, file.claim.width, file.claim.height
    shape = (bottom - top, width)
    size = _FLOATS.get(file.element.keyword)
    if size is not None:
        start = (index * height + top) * width * size
        data = _bytes(file, stream, start, shape[0] * width * size)
        return np.frombuffer(data, f"<f{size}").reshape(shape)
    allocated, signed = int(header.BitsAllocated), int(header.get("PixelRepresentation") or 0)
    if allocated == 1:
        first = (index * height + top) * width
        last = first + shape[0] * width
        data = _bytes(file, stream, first // 8, -(-last // 8) - first // 8)
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[first % 8 :][: last - first].reshape(shape)
    if allocated not in (8, 16, 32, 64):
        raise UserError(
            f"{file.path} has pixels of {allocated} bits; fix: export them as 8, 16 or 32 bits"
        )
    size = allocated // 8
    data = _bytes(file, stream, (index * height + top) * width * size, shape[0] * width * size)
    raw = np.frombuffer(data, f"<u{size}").reshape(shape)
    stored = int(header.get("BitsStored") or allocated)
    high = int(header.get("HighBit", stored - 1))
    if not 1 <= stored <= high + 1 <= allocated:
        raise UserError(
            f"{file.path} says that it stores {stored} bits up to bit {high} of {allocated}; fix: "
            "correct BitsStored and HighBit"
        )
    return _values(raw, high + 1 - stored, stored, bool(signed))


def _values(raw: NDArray[Any], shift: int, stored: int, signed: bool) -> NDArray[Any]:
    """The values in the bits of `raw` from bit `shift` on; the other bits may hold an overlay."""
    size = raw.dtype.itemsize
    kind = np.dtype(f"<i{size}" if signed else f"<u{size}")
    unused = 8 * size - stored
    if not unused:
        return raw.view(kind)
    lifted = (raw << np.array(unused - shift, raw.dtype)).view(kind)
    return np.asarray(lifted >> np.array(unused, kind))


def _bytes(file: DicomFile, stream: BinaryIO, start: int, length: int) -> bytes:
    if file.element.length == UNDEFINED:
        raise UserError(f"{file.path} does not say how long its pixels are; fix: export it again")
    if start + length <= file.element.length:
        stream.seek(file.element.start + start)
        data = stream.read(length)
        if len(data) == length:
            return data
    raise UserError(f"{file.path} is cut off within its pixels; fix: copy it again")


def _big_endian(file: DicomFile, stream: BinaryIO, index: int) -> NDArray[Any]:
    import pydicom
    from pydicom.pixels import pixel_array

    _refuse_odd_bits(file)
    _bytes(file, stream, index * file.claim.frame_bytes, file.claim.frame_bytes)
    stream.seek(0)
    whole = pydicom.dcmread(stream, force=True)
    return np.asarray(pixel_array(_described(file, whole[file.element.keyword]), index=index))


def _decoded(file: DicomFile, frame: bytes) -> NDArray[Any]:
    """What pydicom's decoders make of one frame."""
    from pydicom.dataelem import DataElement
    from pydicom.encaps import encapsulate
    from pydicom.pixels import pixel_array

    _refuse_odd_bits(file)
    if file.compressed:
        element = DataElement(0x7FE00010, "OB", encapsulate([frame]), is_undefined_length=True)
    else:
        element = DataElement(0x7FE00010, "OW", frame)
    described = _described(file, element)
    described.NumberOfFrames = 1
    return np.asarray(pixel_array(described, index=0))


def _described(file: DicomFile, element: Any) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset

    described = Dataset()
    described.file_meta = FileMetaDataset()
    described.file_meta.TransferSyntaxUID = file.syntax
    for keyword in _DESCRIPTION:
        if keyword in file.header:
            described[keyword] = file.header[keyword]
    described.NumberOfFrames = file.claim.frames
    described[element.tag] = element
    described.set_original_encoding(file.implicit, file.little)
    return described


def _refuse_odd_bits(file: DicomFile) -> None:
    stored = file.header.get("BitsStored")
    high = file.header.get("HighBit")
    if stored is not None and high is not None and int(high) != int(stored) - 1:
        raise UserError(
            f"{file.path} stores {stored} bits up to bit {high}, which is read only from files "
            "that are not compressed, little endian and grey; fix: decompress it"
        )


def _compressed(file: DicomFile, stream: BinaryIO, index: int) -> bytes:
    """The bytes of one compressed frame."""
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    header, claim = file.header, file.claim
    _refuse_cut(file, stream)
    offsets = None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    stream.seek(file.element.start)
    frame: bytes = get_frame(stream, index, number_of_frames=claim.frames, extended_offsets=offsets)
    if file.syntax == RLELossless:
        # A run of one byte takes two, so more than twice the pixels is not what they need.
        if len(frame) > 2 * claim.frame_bytes + 2**16:
            raise UserError(
                f"a frame of {file.path} has {len(frame):,} bytes where its header says "
                f"{claim.frame_bytes:,}; fix: replace it"
            )
        return frame
    found = frame_size(frame)
    if found is not None and found != (claim.width, claim.height):
        raise UserError(
            f"a frame of {file.path} is {found[0]} x {found[1]} pixels where its header says "
            f"{claim.width} x {claim.height}; fix: replace it"
        )
    return frame


def _refuse_cut(file: DicomFile, stream: BinaryIO) -> None:
    """`UserError` where there is no fragment, or no mark that ends them all."""
    at, fragments = file.element.start, -1  # the first item holds the offsets
    while True:
        stream.seek(at)
        head = stream.read(8)
        if head[:4] == _END and fragments > 0:
            return
        if head[:4] != _ITEM or len(head) < 8:
            raise UserError(f"{file.path} is cut off within its pixels; fix: copy it again")
        at += 8 + int(struct.unpack("<L", head[4:])[0])
        fragments += 1
