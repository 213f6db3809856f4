"""What the header of each file says of its place, read without pixels and without names."""

import hashlib
import io
import math
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from medgym.errors import UserError
from medgym.imaging.dicom.file import DEFLATED, PIXELS, BeforePixels, is_dicom
from medgym.imaging.series.elements import plain_elements
from medgym.imaging.series.entries import DIRECTORY_CLASS, MOST_HEADER, Entry
from medgym.imaging.slides.dicom import is_dicom_slide
from medgym.imaging.spacing import Spacing, credible_spacing

_TEXTS = {
    "ImageType": 0x00080008, "AcquisitionTime": 0x00080032, "EchoTime": 0x00180081,
    "InversionTime": 0x00180082, "EchoNumbers": 0x00180086, "TriggerTime": 0x00181060,
    "SOPInstanceUID": 0x00080018, "SeriesInstanceUID": 0x0020000E,
    "AcquisitionNumber": 0x00200012, "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037, "FrameOfReferenceUID": 0x00200052,
    "TemporalPositionIdentifier": 0x00200100, "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008, "PixelSpacing": 0x00280030,
}  # fmt: skip
"""What is stored as a text."""

_NUMBERS = {"Rows": (0x00280010, "<H"), "Columns": (0x00280011, "<H"),
            "DiffusionBValue": (0x00189087, "<d")}  # fmt: skip
"""What is stored as a number, and how."""

_CLASS = 0x00080016
_WANTED = frozenset([*_TEXTS.values(), *(tag for tag, _ in _NUMBERS.values())])
_READ = [*_WANTED, _CLASS]

_PLAIN = (2**13, 2**17)
_HEADS = (2**17, 2**19, MOST_HEADER)
"""Bytes of a file that are read to find its pixels: most need the first number of them, and each
byte of thousands of files counts."""

_NAMED = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True, slots=True)
class Slice:
    """One file with pixels.

    Attributes:
        series, instance: hashes of the UIDs, which are not said to anyone.
        frames: how many the file has. is_grey: whether they have no colours.
        size: (width, height).
        spacing: of the pixels. orientation: the directions of the rows and of the columns.
        position: of the centre of the first pixel. These are None where the file has none.
        kind: what all slices of a volume share, such as the echo, as numbers or hashes.
        repeats: what may tell slices at one position apart.
    """

    entry: Entry
    series: str
    instance: str
    frames: int
    is_grey: bool
    size: tuple[int, int]
    spacing: Spacing | None
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    kind: tuple[tuple[str, float | str | None], ...]
    repeats: tuple[tuple[str, float | str | None], ...]


def slice_of(entry: Entry) -> Slice | None:
    """What a file says; None where it is no DICOM image, such as a report or a text beside.

    Raises:
        UserError: it is called DICOM and is none, or its header is damaged.
    """
    head = entry.head(_PLAIN[0])
    if not is_dicom(head[:512], named=False):
        if _is_expected(entry, head):
            raise UserError(f"{entry.name} is not a readable DICOM image; fix: copy it again")
        return None
    if DIRECTORY_CLASS + b"\0" in head[:1024] or DIRECTORY_CLASS + b"\x02" in head[:1024]:
        return None
    if is_dicom_slide(head):
        raise UserError(
            f"{entry.name} is of a whole slide; fix: put the files of the slide into a folder of "
            "their own"
        )
    try:
        said = _said(entry, head)
        return None if said is None else _described(entry, said)
    except UserError:
        raise
    except Exception as error:  # texts of the library may quote the header
        raise _damaged(entry, error) from error


def _is_expected(entry: Entry, head: bytes) -> bool:
    """Whether a file that is none is called DICOM, or is empty and called like nothing else."""
    suffix = entry.suffix.lower()
    return suffix in _NAMED or (not head and not suffix[1:].isalpha())


def _said(entry: Entry, head: bytes) -> Mapping[str, str] | None:
    """What the elements that are read say, by keyword; None where the file has no pixels."""
    for size in _PLAIN:
        if size > _PLAIN[0]:
            head = entry.head(size)
        plain = plain_elements(head, _WANTED)
        said = None if plain is None else _texts(plain)
        if said is not None:
            return said
        if len(head) < size:
            break
    header = _header(entry, head)
    if header is None:
        return None
    found = {keyword: _text(header.get_item(tag)) for keyword, tag in _TEXTS.items()}
    found |= {keyword: str(header.get(keyword) or "") for keyword in _NUMBERS}
    return found


def _texts(plain: Mapping[int, bytes]) -> dict[str, str] | None:
    """The values of elements as texts; None where pydicom has to read them."""
    found = {keyword: plain[tag].decode("latin-1").strip(" \0")
             for keyword, tag in _TEXTS.items() if tag in plain}  # fmt: skip
    for keyword, (tag, form) in _NUMBERS.items():
        value = plain.get(tag)
        if value:
            if len(value) != struct.calcsize(form):
                return None
            (number,) = struct.unpack(form, value)
            found[keyword] = str(number or "")
    return found


def _header(entry: Entry, head: bytes) -> Any:
    """The elements that pydicom reads; None where the file has no pixels."""
    if DEFLATED.encode() in head[:1024]:
        return _inflated(entry)
    for number, size in enumerate(_HEADS):
        if number:
            head = entry.head(size)
        cut = len(head) == size
        stream = io.BytesIO(head)
        try:
            header, found = _read(stream, entry)
        except UserError:
            raise
        except Exception:  # cut off within an element: read more of it
            if not cut:
                raise
            continue
        if found:
            return header
        if not cut:
            _refuse_cut(entry, header)
            return None
    raise UserError(f"{entry.name} has no pixels in its first {MOST_HEADER} bytes; fix: replace it")


def _refuse_cut(entry: Entry, header: Any) -> None:
    """`UserError` where a file without pixels is what is left of an image."""
    from pydicom.uid import UID

    kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if not kind or "Rows" in header or UID(kind).name.endswith("Image Storage"):
        raise UserError(f"{entry.name} is an image without pixels; fix: copy it again")


def _read(stream: io.BytesIO, entry: Entry) -> tuple[Any, bool]:
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    tags: list[Any] = [Tag(each) for each in _READ]
    header = read_partial(stream, BeforePixels(entry.name), force=True, specific_tags=tags)
    little = header.original_encoding[1] is not False
    tag = stream.read(4)
    if len(tag) < 4:
        return header, False
    group, element = struct.unpack("<HH" if little else ">HH", tag)
    return header, (group << 16 | element) in PIXELS


def _inflated(entry: Entry) -> Any:
    from medgym.files import open_regular
    from medgym.imaging.dicom.file import DicomFile

    with entry.readable() as path, open_regular(path, "image") as stream:
        try:
            return DicomFile(stream, path).header
        except UserError as error:
            if "without pixels" in str(error):
                return None
            raise


def _described(entry: Entry, said: Mapping[str, str]) -> Slice:
    text = defaultdict(str, said)
    size = int(text["Columns"] or 0), int(text["Rows"] or 0)
    if min(size) < 1:
        raise _damaged(entry, ValueError())
    return Slice(
        entry,
        hashed(text["SeriesInstanceUID"]),
        hashed(text["SOPInstanceUID"]),
        int(text["NumberOfFrames"] or 1),
        text["PhotometricInterpretation"].startswith("MONOCHROME"),
        size,
        _spacing(text["PixelSpacing"]),
        orientation_of(text["ImageOrientationPatient"]),
        _numbers(text["ImagePositionPatient"], 3),
        _kind(*(text[keyword] for keyword in _KIND)),
        (
            ("acquisition", number_of(text["AcquisitionNumber"])),
            ("trigger time", number_of(text["TriggerTime"])),
            ("acquisition time", hashed(text["AcquisitionTime"])),
        ),
    )


_KIND = (
    "FrameOfReferenceUID", "PhotometricInterpretation", "ImageType", "TemporalPositionIdentifier",
    "EchoNumbers", "EchoTime", "DiffusionBValue", "InversionTime",
)  # fmt: skip


@lru_cache(1024)
def _kind(
    frame: str, colours: str, image_type: str, time_point: str, echo: str, echo_time: str,
    b_value: str, inversion_time: str,
) -> tuple[tuple[str, float | str | None], ...]:  # fmt: skip
    return (
        ("frame of reference", hashed(frame)),
        ("colours", hashed(colours)),
        ("kind", hashed(image_type)),
        ("time point", number_of(time_point)),
        ("echo", number_of(echo)),
        ("echo time", number_of(echo_time)),
        ("b value", number_of(b_value)),
        ("inversion time", number_of(inversion_time)),
    )


@lru_cache(1024)
def _spacing(text: str) -> Spacing | None:
    return credible_spacing(text.split("\\"))


def _text(element: Any) -> str:
    """The value of an element as its file has it, "" for none."""
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0")
    if value is None:
        return ""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return "\\".join(map(str, value))


HASHED = re.compile("[0-9a-f]{8}")
"""What `hashed` gives of a text."""


@lru_cache(1024)
def hashed(text: str) -> str:
    """A name for a text that does not give it away."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8] if text else ""


def number_of(text: str) -> float | str | None:
    """A text as a number; the hash of one that is none."""
    if not text:
        return None
    try:
        return round(float(text), 3)
    except ValueError:
        return hashed(text)


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    if not text:
        return None
    values = tuple(float(each) for each in text.split("\\"))
    if len(values) != count or not all(math.isfinite(each) for each in values):
        raise ValueError
    return values


@lru_cache(1024)
def orientation_of(text: str) -> tuple[float, ...] | None:
    """The directions of rows and columns, of length 1 and upright on each other."""
    values = _numbers(text, 6)
    if values is None:
        return None
    row, column = values[:3], values[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    skew = sum(a * b for a, b in zip(row, column, strict=True))
    if any(abs(each - 1) > 1e-2 for each in lengths) or abs(skew) > 1e-2:
        raise ValueError
    return tuple(each / lengths[0] for each in row) + tuple(each / lengths[1] for each in column)


def _damaged(entry: Entry, error: Exception) -> UserError:
    return UserError(
        f"{entry.name} has a damaged header ({type(error).__name__}); fix: export it again"
    )
