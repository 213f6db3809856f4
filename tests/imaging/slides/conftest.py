"""Slides, written by tifffile and pydicom, whose pixels are known."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

Levels = list[NDArray[np.uint8]]

TILE = 64


def levels_of(width: int, height: int, count: int = 3) -> Levels:
    """Smooth colours with a sharp mark, each level half as large as the one before."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 255 // width, y * 255 // height, (x // 7 + y // 5) % 2 * 200], axis=-1)
    found = [base.astype(np.uint8)]
    while len(found) < count:
        picture = Image.fromarray(found[-1])
        found.append(np.asarray(picture.reduce(2)))
    return found


def write_tiff(path: Path, levels: Levels, **options: Any) -> Path:
    """A pyramid of tiles: the levels after the first are marked as reduced."""
    options = {"compression": "deflate", "tile": (TILE, TILE)} | options
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            file.write(
                level,
                photometric="rgb",
                subfiletype=1 if number else 0,
                resolution=(20000, 10000),
                resolutionunit="CENTIMETER",
                **options,
            )
    return path


@pytest.fixture(scope="session")
def levels() -> Levels:
    return levels_of(512, 384)


@pytest.fixture
def slide(tmp_path: Path, levels: Levels) -> Path:
    return write_tiff(tmp_path / "slide.tif", levels)


@pytest.fixture
def write_dicom() -> Callable[..., None]:
    """Writes each level as a DICOM file of tiles into a folder."""

    def write(folder: Path, levels: Levels) -> None:
        folder.mkdir(exist_ok=True)
        series, frame = generate_uid(), generate_uid()
        for number, level in enumerate(levels):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _dicom(level, series, frame, 0.0005 * 2**number).save_as(
                    folder / f"{series[-6:]}.{number}.dcm", enforce_file_format=True
                )

    return write


def _dicom(level: NDArray[np.uint8], series: str, frame: str, spacing: float) -> Dataset:
    height, width = level.shape[:2]
    down, across = -(-height // TILE), -(-width // TILE)
    padded = np.zeros((down * TILE, across * TILE, 3), np.uint8)
    padded[:height, :width] = level
    tiles = padded.reshape(down, TILE, across, TILE, 3).swapaxes(1, 2)
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.StudyInstanceUID = series, series
    made.FrameOfReferenceUID = frame
    made.Modality = "SM"
    made.PatientName = "Planted^Name"
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.Rows = made.Columns = TILE
    made.NumberOfFrames = down * across
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows = width, height
    made.TotalPixelMatrixFocalPlanes = 1
    made.NumberOfOpticalPaths = 1
    made.ImagedVolumeWidth, made.ImagedVolumeHeight = width * spacing, height * spacing
    made.DimensionOrganizationType = "TILED_FULL"
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.LossyImageCompression = "00"
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing, spacing], 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    made.OpticalPathSequence = [path]
    made.PixelData = np.ascontiguousarray(tiles).tobytes()
    return made
