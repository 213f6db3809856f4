"""Slides in DICOM files: which files of a folder are levels of one slide."""

import hashlib
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.dicom.file import quiet
from medgym.uris import in_a_table

CLASS = b"1.2.840.10008.5.1.4.1.1.77.1.6"
"""The UID by which a DICOM file says that it is of a slide."""

_HEAD = 512
_MOST_FILES = 1000
_MOST_LABELS = 8
_READ = ["SeriesInstanceUID", "ImageType"]


def is_dicom_slide(head: bytes) -> bool:
    """Whether a file is DICOM and of a slide, by its first 512 bytes."""
    at = head.find(CLASS)
    after = head[at + len(CLASS) : at + len(CLASS) + 1]
    return head[128:132] == b"DICM" and at > 0 and after not in (b".", *_DIGITS)


_DIGITS = tuple(b"%d" % digit for digit in range(10))


def slide_files(
    folder: Path, series: str | None, like: Path | None = None
) -> tuple[Path, ...] | None:
    """The files of the slide in a folder, a level of it first; None where its first DICOM file is
    of no slide.

    Args:
        series: the label of one of several slides.
        like: a file of the slide that is meant.

    Raises:
        UserError: there are several slides, and none of them is named.
    """
    found = _slides(folder)
    if not found:
        return None
    if like is not None:
        series = next((label for label, files in found.items() if like in files), None)
    if series is None and len(found) == 1:
        (files,) = found.values()
        return files
    if series in found:
        return found[series]
    said = "several slides" if series is None else f"no slide {series[:40]!r}"
    more = f" and {len(found) - _MOST_LABELS} more" if len(found) > _MOST_LABELS else ""
    labels = sorted(found)
    raise UserError(
        f"{folder} holds {said}; fix: name one of {', '.join(labels[:_MOST_LABELS])}{more}; "
        f"{in_a_table(folder, labels[0])}"
    )


def _slides(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each slide by its label, its levels before its other images."""
    groups: defaultdict[str, list[tuple[bool, Path]]] = defaultdict(list)
    for name in _candidates(folder):
        place = Path(name)
        with open_regular(place, "image") as stream:
            head = stream.read(_HEAD)
            if head[128:132] != b"DICM":
                continue
            if not is_dicom_slide(head):
                if not groups:
                    return {}  # a series of another kind: its files are not read twice
                continue
            stream.seek(0)
            label, is_level = _described(stream, place)
        groups[label].append((not is_level, place))
    return {label: tuple(place for _, place in sorted(files)) for label, files in groups.items()}


def _candidates(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as scanned:
            listed = sorted(
                each.path
                for each in scanned
                if not each.name.startswith(".") and each.is_file(follow_symlinks=False)
            )
    except OSError as error:
        raise UserError(f"cannot read {folder} ({error.strerror}); fix: check it") from error
    return listed[:_MOST_FILES]


def _described(stream: Any, path: Path) -> tuple[str, bool]:
    """The label of a file's slide, and whether it is a level, not a label or an overview."""
    import pydicom

    quiet()
    try:
        header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_READ)
        series = str(header.get("SeriesInstanceUID") or "")
        kind = "VOLUME" in tuple(header.get("ImageType") or ())
    except Exception as error:  # texts of the library may quote the header
        raise UserError(
            f"{path} has a damaged header ({type(error).__name__}); fix: export it again"
        ) from error
    return hashlib.sha256(series.encode("utf-8", "replace")).hexdigest()[:8], kind
