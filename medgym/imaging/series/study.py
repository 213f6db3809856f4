"""A DICOM series as a study. Headers are read once; a slice is read when it is asked for."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.files import open_regular
from medgym.imaging.dicom.file import DicomFile, quiet
from medgym.imaging.dicom.frames import stored_values
from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.dicom.hidden import padding_in
from medgym.imaging.dicom.modality import meant_values, unit_of
from medgym.imaging.dicom.study import refused_by_name
from medgym.imaging.dicom.voi import is_inverted, own_windows
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import Region
from medgym.imaging.rendering import Study
from medgym.imaging.series.enhanced import EnhancedStudy, volume_of_file
from medgym.imaging.series.entries import (
    DIRECTORY_CLASS,
    Archive,
    Entry,
    FileEntry,
    directory_entries,
    folder_files,
)
from medgym.imaging.series.one_file import OneFile, opened_file
from medgym.imaging.series.slices import Slice, slice_of
from medgym.imaging.series.stacks import Stack, chosen_stack, labels_of
from medgym.imaging.volumes.study import Ranges, VolumeStudy

_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


def is_zip(head: bytes) -> bool:
    """Whether a file begins as a zip does."""
    return head.startswith(_ZIP)


def is_directory(head: bytes) -> bool:
    """Whether a file begins as a DICOMDIR does."""
    return head[128:132] == b"DICM" and DIRECTORY_CLASS in head


def open_series(
    path: Path, series: str | None = None, *, as_frames: bool = False
) -> "SeriesStudy | EnhancedStudy | OneFile":
    """The images of a folder, a zip or a DICOMDIR: a volume, or the one file that has no place.

    Args:
        series: the label of one, where there are several.
        as_frames: whether the frames of a file are meant, and not the volume that they make.

    Raises:
        UserError: there is none or more than one, or its images cannot be put in order.
    """
    kept = _kept_series(path)
    stack = kept.stacks.get(series)
    if stack is None:
        stack = kept.stacks[series] = chosen_stack(kept.slices, path, series)
    if stack.grid is None:
        first = stack.slices[0]
        if first.frames > 1 and not as_frames and isinstance(first.entry, FileEntry):
            volume = volume_of_file(first.entry.path)
            if volume is not None:
                return volume
        return OneFile(path, first.entry)
    return SeriesStudy(path, stack)


def series_labels(path: Path) -> list[str]:
    """The labels of the series of a folder, a zip or a DICOMDIR. One whose images are not of one
    direction, size or kind, such as three localisers, has a label for each.

    Raises:
        UserError: it cannot be read.
    """
    return labels_of(_kept_series(path).slices, path)


@dataclass
class _Kept:
    """What the files of a folder, a zip or a DICOMDIR say, which holds as long as none of them
    changes: each has a state, which is another as soon as the file is another."""

    state: list[tuple[str, Hashable]]
    slices: list[Slice]
    stacks: dict[str | None, Stack] = field(default_factory=dict)


_MOST_KEPT = 8
_kept: OrderedDict[Path, _Kept] = OrderedDict()
_keeping = Lock()
"""The headers of the series that were opened last, so that no case reads all of them again."""


def _kept_series(path: Path) -> _Kept:
    state, entries = _entries(path)
    place = path.absolute()
    with _keeping:
        known = _kept.get(place)
        if known is not None and known.state == state:
            _kept.move_to_end(place)
            return known
    quiet()
    found = _Kept(state, [each for each in map(slice_of, entries()) if each is not None])
    with _keeping:
        _kept[place] = found
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return found


def _entries(path: Path) -> tuple[list[tuple[str, Hashable]], Callable[[], Iterable[Entry]]]:
    """The state of each file, and what makes the entries."""
    if os.path.isdir(path):
        files = folder_files(path)
        return [*files], lambda: [FileEntry(*each) for each in files]
    with open_regular(path, "image") as stream:
        head = stream.read(4)
    entries = Archive(path).entries() if is_zip(head) else directory_entries(path)
    return [(entry.name, entry.state()) for entry in entries], lambda: entries


class SeriesStudy(VolumeStudy):
    """The slices of a series. The plane in which they were taken shows each as its file has it."""

    def __init__(self, path: Path, stack: Stack) -> None:
        assert stack.grid is not None
        super().__init__(path, stack.grid)
        self._slices = stack.slices
        self._is_described = False
        self._own: Window | LookupTable | None = None

    @property
    def acquired(self) -> str:
        """The plane in which the images were taken."""
        return self.grid.acquired

    @property
    def plane_names(self) -> tuple[str, ...]:
        """See `VolumeStudy.plane_names`: one for a single image, and for colours."""
        if len(self._slices) == 1 or not self._slices[0].is_grey:
            return (self.acquired,)
        return super().plane_names

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        if plane != self.acquired:
            self._describe()
            return super().decode(plane, index, region)
        self._check(plane, index)
        with self._slices[index].entry.readable() as path:
            study = opened_file(path)  # it refuses what is too large
            image = study.decode(study.plane, 0, region)
        return replace(image, spacing_mm=self.planes[plane].spacing_mm)

    def need(self, plane: str, index: int) -> int:
        """See `VolumeStudy.need`."""
        if plane != self.acquired:
            return super().need(plane, index)
        self._check(plane, index)
        with self._slices[index].entry.readable() as path:
            return opened_file(path).need(0)

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """See `ImagingStudy.windows`: for other planes than the acquired one those of the middle
        image."""
        self._check(plane, index)
        entry = self._entry(plane, index)
        with entry.readable() as path:
            study = opened_file(path)
            return study.windows(study.plane, 0)

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """See `ImagingStudy.window_function`."""
        self._check(plane, index)
        entry = self._entry(plane, index)
        with entry.readable() as path:
            study = opened_file(path)
            return study.window_function(study.plane, 0)

    def own_window(self) -> Window | LookupTable | None:
        """See `VolumeStudy.own_window`."""
        return self._own

    def read(self, ranges: Ranges) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `VolumeStudy.read`: of each file only the rows that are asked for."""
        parts, covers = [], []
        for each in self._slices[ranges[2]]:
            with each.entry.readable() as path:
                values, hidden = _values(path, ranges[1], ranges[0])
            parts.append(values.T)
            covers.append(np.zeros(values.T.shape, np.bool_) if hidden is None else hidden.T)
        hidden = np.stack(covers, axis=2)
        return np.stack(parts, axis=2), hidden if hidden.any() else None

    def _entry(self, plane: str, index: int) -> Entry:
        return self._slices[index if plane == self.acquired else len(self._slices) // 2].entry

    def _describe(self) -> None:
        """Take from the middle image what the other planes are shown with."""
        if self._is_described:
            return
        entry = self._slices[len(self._slices) // 2].entry
        with entry.readable() as path, refused_by_name(path):
            _, header = _header(path)
            windows = own_windows(header)
            self._own = windows[0] if windows else None
            self.modality = header.text("Modality") or None
            self.unit = unit_of(header)
            self.is_inverted = is_inverted(header)
            self._is_described = True


def _header(path: Path) -> tuple[DicomFile, FrameHeader]:
    with open_regular(path, "image") as stream:
        file = DicomFile(stream, path)
    return file, FrameHeader(file.header, 0, path, little=file.little)


def _values(
    path: Path, rows: slice, columns: slice
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The values of a part of a file, and which of them are padding."""
    with refused_by_name(path):
        file, header = _header(path)
        stored = stored_values(file, 0, rows.start, rows.stop)
        values, hidden = meant_values(stored, header), padding_in(stored, header)
        return values[:, columns], None if hidden is None else hidden[:, columns]
