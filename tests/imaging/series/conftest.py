"""Writes small series."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Write = Callable[..., Path]


def write_slice(
    path: Path, pixels: Any, *, position: Any = None, orientation: Any = (1, 0, 0, 0, 1, 0),
    spacing: Any = (1, 1), series: str = "1.2.3.4", **tags: Any,
) -> Path:  # fmt: skip
    """A CT image of 16 bits."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.Modality = series, "CT"
    data.PatientName, data.PatientID = "Doe^Secret", "Secret-77"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if position is not None:
        data.ImagePositionPatient = [f"{each:.9f}"[:16] for each in position]
        data.ImageOrientationPatient = [f"{each:.14f}"[:16] for each in orientation]
        data.PixelSpacing = [f"{each:.9f}"[:16] for each in spacing]
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def write() -> Write:
    return write_slice


@pytest.fixture
def field_case(tmp_path: Path) -> Path:
    """Twelve slices whose names and numbers say nothing about their order."""
    folder = tmp_path / "series"
    for number, z in enumerate([7, 2, 11, 0, 5, 9, 1, 10, 3, 8, 6, 4]):
        write_slice(
            folder / f"{number + 1}.dcm", np.full((4, 4), z, np.uint16), position=(0, 0, 5.0 * z),
            InstanceNumber=1,
        )  # fmt: skip
    return folder
