"""DICOM files that are written here, with pydicom."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

Write = Callable[..., Path]
"""Writes pixels with tags; a tag that is None is left out."""


def _item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


@pytest.fixture
def item() -> Callable[..., Dataset]:
    """An item of a sequence."""
    return _item


@pytest.fixture
def sequence() -> Callable[..., Sequence]:
    """A sequence of one item of these tags."""
    return lambda **tags: Sequence([_item(**tags)])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(pixels: np.ndarray, name: str = "a.dcm", **tags: Any) -> Path:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
        dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
        colour = pixels.ndim > 2 and pixels.shape[-1] == 3
        bits = 8 * pixels.dtype.itemsize
        stored = tags.get("BitsStored", bits) or bits
        floats = {4: "FloatPixelData", 8: "DoubleFloatPixelData"}
        keyword = floats[pixels.dtype.itemsize] if pixels.dtype.kind == "f" else "PixelData"
        given = {
            "Modality": "CT",
            "Rows": pixels.shape[-3 if colour else -2],
            "Columns": pixels.shape[-2 if colour else -1],
            "SamplesPerPixel": 3 if colour else 1,
            "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
            "BitsAllocated": bits,
            "BitsStored": stored,
            "HighBit": stored - 1,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            **({"PlanarConfiguration": 0} if colour else {}),
            **({"NumberOfFrames": len(pixels)} if pixels.ndim - colour == 3 else {}),
            keyword: pixels.tobytes(),
            **tags,
        }
        for tag, value in given.items():
            if value is not None:
                setattr(dataset, tag, value)
        path = tmp_path / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    return written
