"""Writes the studies of `bench studies`: noise as DICOM files, as NIfTI files and as a slide."""

import io
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLACE = "0000000000.0000"
_NUMBER = "10000"


def write_series(folder: Path, slices: int, side: int) -> list[Path]:
    """A CT of one image per file; returns the files in the order of their positions.

    Each has a header of some 70 elements, private ones and sequences among them, as scanners write
    them.
    """
    folder.mkdir()
    whole = _one_slice(side)
    place, number = _PLACE.encode(), f"1.2.826.0.1.{_NUMBER}".encode()
    paths = []
    for index in range(slices):
        # No name tells the order.
        path = folder / f"{(index * 7919) % 99991:05d}.dcm"
        here = whole.replace(place, f"{index * 0.5:015.4f}".encode())
        path.write_bytes(here.replace(number, number[:-5] + f"{10000 + index}".encode()))
        paths.append(path)
    return paths


def write_nifti(path: Path, slices: int, side: int) -> None:
    """A volume of 16 bits, packed where the name ends in `.gz`."""
    nibabel: Any = import_module("nibabel")
    image = nibabel.Nifti1Image(
        _noise((side, side, slices)).view(np.int16), np.diag([1, 1, 1, 1.0])
    )
    nibabel.save(image, path)


def write_slide(path: Path, side: int) -> None:
    """A pyramid of tiles of colours: each level has a quarter of the sides of the one before."""
    import tifffile

    tile = 256
    colours = np.random.default_rng(0).integers(0, 256, (7, tile, tile, 3), np.uint8) // 32 * 32
    pool = [zlib.compress(each.tobytes()) for each in colours]
    with tifffile.TiffWriter(path) as file:
        level = 0
        while level == 0 or side >= tile:
            count = (-(-side // tile)) ** 2
            file.write(
                (pool[number % len(pool)] for number in range(count)), shape=(side, side, 3),
                dtype=np.uint8, tile=(tile, tile), photometric="rgb", compression="deflate",
                subfiletype=1 if level else 0, resolution=(20000, 20000),
                resolutionunit="CENTIMETER",
            )  # fmt: skip
            level += 1
            side //= 4


def _noise(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4096, shape, np.uint16)


def _one_slice(side: int) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    def item(**tags: Any) -> Dataset:
        made = Dataset()
        for keyword, value in tags.items():
            setattr(made, keyword, value)
        return made

    uid = f"1.2.826.0.1.{_NUMBER}"
    code = item(CodeValue="T-D3000", CodingSchemeDesignator="SRT", CodeMeaning="Chest")
    data = item(
        SpecificCharacterSet="ISO_IR 100", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        SOPClassUID=CTImageStorage, SOPInstanceUID=uid, StudyDate="20200101",
        SeriesDate="20200101", AcquisitionDate="20200101", ContentDate="20200101",
        StudyTime="101010", SeriesTime="101010", AcquisitionTime="101010", ContentTime="101010",
        Modality="CT", Manufacturer="medgym", InstitutionName="none", StationName="CT1",
        StudyDescription="Chest", SeriesDescription="Lung", ManufacturerModelName="Noise",
        ReferencedImageSequence=Sequence([
            item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID="1.2.3")
        ]),
        AnatomicRegionSequence=Sequence([code]), PatientName="Noise", PatientID="1",
        PatientBirthDate="19700101", PatientSex="O", PatientAge="050Y", PatientWeight="70",
        BodyPartExamined="CHEST", ScanOptions="HELIX", SliceThickness="0.5", KVP="120",
        DataCollectionDiameter="500", SoftwareVersions="1", ProtocolName="Chest",
        ReconstructionDiameter="350", DistanceSourceToDetector="1040",
        DistanceSourceToPatient="570", GantryDetectorTilt="0", TableHeight="150",
        RotationDirection="CW", ExposureTime="500", XRayTubeCurrent="200", Exposure="100",
        FilterType="BODY", GeneratorPower="30", FocalSpots="1.2", ConvolutionKernel="B60f",
        PatientPosition="HFS", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4", StudyID="1",
        SeriesNumber="2", AcquisitionNumber="1", InstanceNumber="1",
        ImagePositionPatient=["-175", "-175", _PLACE], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        FrameOfReferenceUID="1.2.5", PositionReferenceIndicator="", SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2", Rows=side, Columns=side, PixelSpacing=[0.7, 0.7],
        BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=0,
        WindowCenter=["40", "-600"], WindowWidth=["400", "1500"], RescaleIntercept="-1024",
        RescaleSlope="1", RescaleType="HU", PixelData=_noise((side, side)).tobytes(),
    )  # fmt: skip
    for number in range(12):
        data.private_block(0x0019, "NOISE", create=True).add_new(number, "LO", "a private text")
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
