"""A DICOM file, de-identified."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.dicom.file import PIXELS, UNDEFINED, DicomFile, is_dicom, quiet
from medgym.imaging.dicom.study import DicomStudy, refused_by_name
from medgym.imaging.imaging_study import ImagingStudy
from medgym.privacy.burnt_in import TextFinder, boxes_of, mask_dataset
from medgym.privacy.cleaned import Cleaned
from medgym.privacy.frames import without_comments
from medgym.privacy.profile import TABLE, Profile

_DRAWN = frozenset(("US", "IVUS", "XC", "ES", "OP", "OT", "SC", "DOC", "GM", "RF", "XA"))
"""Modalities whose images are often drawn over by the machine."""


def scrub_dicom(path: Path, out: Path, profile: Profile, finder: TextFinder | None) -> Cleaned:
    """Write a DICOM file to `out` without what tells whose it is, with the same pixels.

    Raises:
        UserError: it cannot be read, or text is burnt into it and nobody masks it, or something
            that tells whose it is would be left.
    """
    import pydicom

    quiet()
    with refused_by_name(path):
        with open_regular(path, "image") as stream:
            file = DicomFile(stream, path)
            stream.seek(0)
            dataset = pydicom.dcmread(stream, force=True)
        cleaned = Cleaned(drawn=_drawn(dataset))
        said_so = str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES"
        if said_so and finder is None:
            raise UserError(
                f"{path} says that text is burnt into its pixels; fix: find and mask it with "
                "--mask-text"
            )
        _refuse_hidden_text(dataset, path)
        _new_meta(dataset, file.syntax)
        _cut_rest(dataset, file, cleaned)
        before = _pixel_bytes(dataset)
        if finder is not None:
            cleaned.boxes = _find(path, finder)
            if said_so and not cleaned.boxes:
                raise UserError(
                    f"{path} says that text is burnt into its pixels, and none was found; fix: "
                    "mask it by hand, and set BurnedInAnnotation to NO"
                )
            if cleaned.boxes:
                cleaned.notes += mask_dataset(dataset, cleaned.boxes, path)
                before = _pixel_bytes(dataset)
        method = f"medgym: DICOM PS3.15 {TABLE} basic profile"
        found, changes = profile.apply(dataset, method)
        cleaned.changes += changes
        meta = dataset.file_meta
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.preamble = b"\0" * 128
        dataset.save_as(out, enforce_file_format=True)
        with out.open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True)
            end = stream.tell()
            stream.seek(0)
            in_bytes = found.are_in_bytes(stream.read(end))
            stream.seek(0)
            whole = pydicom.dcmread(stream)
        left = profile.left(header, found)
        in_pixels = any(found.are_in_bytes(each) for each in before)
        if left or in_bytes or in_pixels:
            where = ", ".join(sorted(set(left))[:5]) or (
                "its pixels" if in_pixels else "its header"
            )
            raise UserError(
                f"{path} still tells whose it is in {where} after the profile was applied; fix: "
                "export it again"
            )
        if _pixel_bytes(whole) != before:
            raise UserError(f"the pixels of {path} changed while it was written; fix: try again")
    return cleaned


def acquisition_times(paths: Iterable[Path]) -> dict[tuple[str, str], str]:
    """A time of the day for each time at which images of a series were acquired.

    These keep their order and tell the images of several times apart; they say nothing else.

    Returns:
        It by the UID of the series, and the time that the file says.
    """
    import pydicom

    quiet()
    times: defaultdict[str, set[str]] = defaultdict(set)
    tags = ["SeriesInstanceUID", "AcquisitionTime"]
    for path in paths:
        try:
            with open_regular(path) as stream:
                if not is_dicom(stream.read(132), named=False):
                    continue
                stream.seek(0)
                header = pydicom.dcmread(
                    stream, stop_before_pixels=True, specific_tags=tags, force=True
                )
            times[str(header.SeriesInstanceUID)].add(str(header.AcquisitionTime))
        except Exception:  # what is wrong is said when the file itself is scrubbed
            continue
    return {
        (series, time): f"{rank // 3600 % 24:02}{rank // 60 % 60:02}{rank % 60:02}"
        for series, found in times.items()
        for rank, time in enumerate(sorted(found))
    }


def _find(path: Path, finder: TextFinder) -> Any:
    with open_regular(path, "image") as stream:
        study: ImagingStudy = DicomStudy(stream, path)
    return boxes_of(study, finder)


def _pixel_bytes(dataset: Any) -> list[bytes]:
    return [dataset[name].value for name in PIXELS.values() if name in dataset]


def _cut_rest(dataset: Any, file: DicomFile, cleaned: Cleaned) -> None:
    """Take out what lies in the element of the pixels and is none: bytes after them, and comments
    of compressed frames, which become zeros in their place."""
    if "PixelData" not in dataset:
        return
    data = dataset.PixelData
    if file.element.length == UNDEFINED:
        emptied = without_comments(data)
        if emptied != data:
            dataset.PixelData = emptied
            cleaned.changes[("comments of frames", "emptied")] += 1
        return
    size = file.claim.total + file.claim.total % 2
    if len(data) > size:
        dataset.PixelData = data[:size]
        cleaned.changes[("bytes after the pixels", "removed")] += 1


def _drawn(dataset: Any) -> str:
    """Why text may be burnt into the pixels."""
    flag = str(dataset.get("BurnedInAnnotation", "")).strip().upper()
    if flag in ("YES", "NO"):
        return "the file says so" if flag == "YES" else ""
    kind = [str(each).upper() for each in np.atleast_1d(dataset.get("ImageType") or [])]
    if str(dataset.get("Modality", "")) in _DRAWN or "SECONDARY" in kind[1:2]:
        return "a kind of image that machines draw text on"
    return "a secondary capture" if "ConversionType" in dataset else ""


def _refuse_hidden_text(dataset: Any, path: Path) -> None:
    """Refuse what lies in the pixels' own bytes and is no pixel."""
    for group in range(0x6000, 0x6100, 2):
        placed = dataset.get((group, 0x0102))
        if placed is not None and placed.value and (group, 0x3000) not in dataset:
            raise UserError(
                f"{path} has an overlay in unused bits of its pixels, where text may stand; fix: "
                "export it without overlays"
            )


def _new_meta(dataset: Any, syntax: Any) -> None:
    """Meta information that names only what the file is."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

    old = getattr(dataset, "file_meta", None)
    kind = dataset.get("SOPClassUID") or (old and old.get("MediaStorageSOPClassUID"))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = kind or SecondaryCaptureImageStorage
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    if not dataset.get("SOPInstanceUID"):
        dataset.SOPInstanceUID = generate_uid(None)
