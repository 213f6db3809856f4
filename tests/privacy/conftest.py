"""Images that say of whom they are, in every place in which a file can."""

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

IDENTIFIERS = {
    "name": "Zebedeus^Quirina",
    "address": "Quince Lane 7713",
    "date": "18621103",
    "telephone": "555-0172-913",
    "fax": "555-0172-914",
    "e-mail": "quirina@zebedeus.example",
    "social security number": "078-05-1120",
    "medical record number": "MRN0081723",
    "health plan number": "HPN4471902",
    "account number": "ACC9920113",
    "licence number": "LIC5518820",
    "vehicle plate": "KA05MJ7781",
    "device number": "DEV3390417",
    "web address": "http://zebedeus.example/q",
    "IP address": "203.0.113.77",
    "biometric": "IRIS88Q1720",
    "photograph": "FACE7741Q.JPG",
    "other": "UNIQ6630QZ",
}
"""The 18 identifiers of HIPAA's safe harbor, one of each kind."""

TRACES = (
    "zebedeus", "quirina", "quince", "18621103", "555-0172", "078-05-1120", "mrn0081723",
    "hpn4471902", "acc9920113", "lic5518820", "ka05mj7781", "dev3390417", "203.0.113.77", "88q1720",
    "7741q", "6630qz",
)  # fmt: skip
"""What none of these can be written without."""

_LENGTHS = {"AE": 16, "SH": 16, "CS": 16, "LO": 64, "PN": 64}
_TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
_NEEDED = {
    "SpecificCharacterSet", "PhotometricInterpretation", "PresentationLUTShape", "VOILUTFunction",
    "ShutterShape", "Modality", "DoseUnits", "RescaleType", "ModalityLUTType",
}  # fmt: skip
"""Texts that are refused where they say what the standard does not."""

Plant = Callable[..., Path]


def traces_in(data: bytes | str) -> list[str]:
    """Which traces bytes or a text hold, in the encodings in which texts hide."""
    text = data if isinstance(data, str) else "".join(
        data.decode(code, "ignore") for code in ("latin-1", "utf-16-le", "utf-16-be")
    )  # fmt: skip
    text = text.casefold()
    return [trace for trace in TRACES if trace in text]


def traces_below(folder: Path) -> list[str]:
    """Which traces the files of a folder hold, in their names too."""
    found = []
    for path in sorted(folder.rglob("*")):
        found += [f"{path}: {trace}" for trace in traces_in(str(path.relative_to(folder)))]
        if path.is_file():
            data = path.read_bytes()
            found += [f"{path}: {trace}" for trace in traces_in(data + _unpacked(path, data))]
    return found


def _unpacked(path: Path, data: bytes) -> bytes:
    """What a packed file holds: a gzip, or the rows of a Parquet file, whose pages are packed."""
    if path.suffix == ".parquet":
        return repr(pyarrow.parquet.read_table(path).to_pylist()).encode("utf-8")
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else b""


def planted(dataset: Dataset, every: int = 1) -> Dataset:
    """Write an identifier into every text, date and time that the standard knows."""
    kinds = list(IDENTIFIERS.values())
    with pydicom.config.disable_value_validation():
        for number, (tag, entry) in enumerate(sorted(DicomDictionary.items())):
            vr, keyword = entry[0], keyword_for_tag(tag)
            if tag >> 16 in (0, 2, 4) or not keyword or keyword in _NEEDED or number % every:
                continue
            if vr in _TEXTS:
                value = kinds[number % len(kinds)][: _LENGTHS.get(vr)]
                dataset.add_new(tag, vr, value)
            elif vr in ("DA", "DT"):
                dataset.add_new(tag, vr, IDENTIFIERS["date"])
        dataset.PatientName, dataset.PatientID = "Zebedeus^Quirina", "MRN0081723"
        block = dataset.private_block(0x0099, "Quince Lane 7713", create=True)
        block.add_new(1, "LO", "Zebedeus^Quirina")
        item = Dataset()
        item.PatientName, item.SeriesDescription = "Zebedeus^Quirina", "of UNIQ6630QZ"
        dataset.ReferencedImageSequence = Sequence([item])
    return dataset


def ct(pixels: Any, **tags: Any) -> Dataset:
    """A CT image of 16 bits."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = tags.pop("uid", "1.2.9.1")
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.9", "1.2.9.0", "CT"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation, data.PixelSpacing = 0, [0.5, 0.5]
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.astype("<u2").tobytes()
    return data


def save(data: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.preamble = b"Zebedeus Quirina".ljust(128, b"\0")
    with pydicom.config.disable_value_validation():
        data.save_as(path, enforce_file_format=True)
    return path


def some_pixels() -> Any:
    return np.random.default_rng(3).integers(0, 4000, (24, 32)).astype(np.uint16)


@pytest.fixture
def pixels() -> Any:
    return some_pixels()


def pictures(folder: Path, pixels: Any) -> dict[str, Path]:
    """PNG, JPEG, TIFF, WebP, BMP and NIfTI files with the identifiers beside their pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    said = "; ".join(IDENTIFIERS.values())
    colours = np.stack([pixels >> 4] * 3, -1).astype(np.uint8)
    picture = Image.fromarray(colours)
    text = PngInfo()
    text.add_text("Patient", said)
    text.add_itxt("History", said, zip=True)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = said, "Zebedeus Quirina"
    made = {}
    for name, how in {
        "a.png": {"pnginfo": text, "exif": exif, "icc_profile": said.encode()},
        "a.jpg": {"exif": exif, "comment": said, "icc_profile": said.encode()},
        "a.webp": {"exif": exif, "xmp": said.encode(), "lossless": True},
        "a.bmp": {},
        "a.tif": {"description": said, "artist": "Zebedeus Quirina", "compression": "tiff_lzw"},
    }.items():
        made[name] = folder / name
        picture.save(made[name], **how)
    for name in ("a.png", "a.jpg", "a.bmp"):
        with made[name].open("ab") as stream:
            stream.write(b"Zebedeus Quirina MRN0081723")
    Image.fromarray(pixels).save(folder / "deep.png", pnginfo=text)
    made["deep.png"] = folder / "deep.png"
    made["a.nii.gz"] = nifti(folder / "a.nii.gz", pixels)
    return made


def nifti(path: Path, pixels: Any) -> Path:
    """A volume of three slices, with texts in all fields, an extension and a gzip with a name."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    header[4:32] = b"QUIRINA\0\0\0Zebedeus Quirina\0\0"
    struct.pack_into("<8h", header, 40, 3, *pixels.shape[::-1], 3, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 512, 16)
    struct.pack_into("<8f", header, 76, 1, 0.5, 0.5, 2, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 384, 1, 0)
    header[123] = 2
    header[148:172], header[228:244] = b"Zebedeus^Quirina 18621103", b"MRN0081723.dcm\0\0"[:16]
    header = header[:348]
    struct.pack_into("<2h", header, 252, 1, 0)
    struct.pack_into("<6f", header, 256, 0, 0, 0, 0, 0, 0)
    header[328:344] = b"LIC5518820\0\0\0\0\0\0"
    header[344:348] = b"n+1\0"
    extension = b"\1\0\0\0" + struct.pack("<ii", 32, 6) + b"078-05-1120 Zebedeus    "
    data = bytes(header) + extension + np.stack([pixels] * 3).astype("<u2").tobytes()
    with path.open("wb") as file, gzip.GzipFile("Zebedeus_Quirina.nii", "wb", fileobj=file) as to:
        to.write(data)
    return path


def archive(path: Path, *members: Path) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for member in members:
            made.write(member, f"Zebedeus/{member.name}")
    return path


def clip(path: Path) -> Path:
    """A clip of four frames, whose container has a title and a comment."""
    av = pytest.importorskip("av")
    rng = np.random.default_rng(3)
    with av.open(str(path), "w") as made:
        made.metadata["title"] = made.metadata["comment"] = "; ".join(IDENTIFIERS.values())
        stream: Any = made.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(4):
            pixels = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        made.mux(stream.encode(None))
    return path
