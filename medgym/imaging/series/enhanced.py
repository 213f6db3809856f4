"""A DICOM file whose frames lie behind each other, as a volume: Enhanced CT, MR, PET and others.

Each frame says its own position. They are split and put in order as the files of a series are.
"""

import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.dicom.frames import stored_values
from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.dicom.hidden import padding_in
from medgym.imaging.dicom.modality import meant_values, unit_of
from medgym.imaging.dicom.study import DicomStudy, refused_by_name
from medgym.imaging.dicom.voi import is_inverted, own_windows
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import Region
from medgym.imaging.rendering import Study
from medgym.imaging.series.entries import FileEntry
from medgym.imaging.series.slices import Slice, hashed, number_of, orientation_of
from medgym.imaging.series.stacks import Stack, chosen_stack, makes_volume
from medgym.imaging.spacing import credible_spacing
from medgym.imaging.volumes.study import Ranges, VolumeStudy

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
"""A file of this class has frames for each of its segments, and only where these are."""

_KIND = (
    ("kind", "FrameType", ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence",
                           "PETFrameTypeSequence")),
    ("time point", "TemporalPositionIndex", ("FrameContentSequence",)),
    ("echo time", "EffectiveEchoTime", ("MREchoSequence",)),
    ("b value", "DiffusionBValue", ("MRDiffusionSequence",)),
    ("inversion time", "InversionTimes", ("MRModifierSequence",)),
    ("stack", "StackID", ("FrameContentSequence",)),
)  # fmt: skip
"""What all frames of a volume share: what it is called, its keyword, and where it stands."""

_REPEATS = (
    ("acquisition", "FrameAcquisitionNumber", ("FrameContentSequence",)),
    ("trigger time", "NominalCardiacTriggerDelayTime", ("CardiacSynchronizationSequence",)),
    ("acquisition time", "FrameAcquisitionDateTime", ("FrameContentSequence",)),
)
"""What may tell frames at one position apart."""

_MOST_KEPT = 4
_kept: OrderedDict[Any, tuple[DicomStudy, tuple[Slice, ...]]] = OrderedDict()
_keeping = Lock()
"""The headers of the files that were opened last: one of 2,000 frames takes a second to read."""


def open_frames(
    stream: BinaryIO, path: Path, series: str | None = None
) -> "EnhancedStudy | DicomStudy":
    """A DICOM file: a volume, where its frames make one, else its frames.

    Args:
        series: the label of one volume, where there are several.

    Raises:
        UserError: there are several and none is named, or its frames cannot be put in order.
    """
    found = os.fstat(stream.fileno())
    key = path.absolute(), found.st_ino, found.st_size, found.st_mtime_ns
    with _keeping:
        known = _kept.get(key)
    if known is None:
        file = DicomStudy(stream, path)
        with refused_by_name(path):
            slices = _slices(file, path)
        if not slices or not makes_volume(slices, path):
            if series is not None:
                raise UserError(f"{path} has no series; fix: leave the series out")
            return file
        known = file, slices
    with _keeping:
        _kept[key] = known
        _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    file, slices = known
    numbers = {id(each): number for number, each in enumerate(slices)}
    stack = chosen_stack(slices, path, series)
    return EnhancedStudy(path, file, stack, tuple(numbers[id(each)] for each in stack.slices))


def volume_of_file(path: Path) -> "EnhancedStudy | None":
    """The volume that a file of a folder makes; None where it makes none, or several."""
    with open_regular(path, "image") as stream:
        try:
            found = open_frames(stream, path)
        except UserError:  # its frames are shown one by one, as far as they can be read
            return None
    return found if isinstance(found, EnhancedStudy) else None


class EnhancedStudy(VolumeStudy):
    """The frames of a file. The plane in which they were taken shows each as the file has it.

    Args:
        numbers: the frames of the volume in the order of their positions.
    """

    def __init__(
        self, path: Path, file: DicomStudy, stack: Stack, numbers: tuple[int, ...]
    ) -> None:
        assert stack.grid is not None
        super().__init__(path, stack.grid)
        self._study = file
        self._numbers = numbers
        self._is_grey = stack.slices[0].is_grey
        with refused_by_name(path):
            middle = file.header(numbers[len(numbers) // 2])
            windows = own_windows(middle)
            self._own = windows[0] if windows else None
            self.modality = middle.text("Modality") or None
            self.unit = unit_of(middle)
            self.is_inverted = is_inverted(middle)

    @property
    def acquired(self) -> str:
        """The plane in which the frames were taken."""
        return self.grid.acquired

    @property
    def plane_names(self) -> tuple[str, ...]:
        """See `VolumeStudy.plane_names`: one for a single frame, and for colours."""
        if len(self._numbers) == 1 or not self._is_grey:
            return (self.acquired,)
        return super().plane_names

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        if plane != self.acquired:
            return super().decode(plane, index, region)
        self._refuse_large(plane, index)
        image = self._study.decode(self._study.plane, self._numbers[index], region)
        return replace(image, spacing_mm=self.planes[plane].spacing_mm)

    def need(self, plane: str, index: int) -> int:
        """See `VolumeStudy.need`."""
        if plane != self.acquired:
            return super().need(plane, index) + self._study.need(0)
        return self._study.need(0)

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """See `ImagingStudy.windows`: for other planes than the acquired one those of the middle
        frame."""
        self._check(plane, index)
        return self._study.windows(self._study.plane, self._number(plane, index))

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """See `ImagingStudy.window_function`."""
        self._check(plane, index)
        return self._study.window_function(self._study.plane, self._number(plane, index))

    def own_window(self) -> Window | LookupTable | None:
        """See `VolumeStudy.own_window`."""
        return self._own

    def read(self, ranges: Ranges) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `VolumeStudy.read`: of each frame only the rows that are asked for."""
        columns, rows, frames = ranges
        parts, covers = [], []
        with refused_by_name(self.path, self._study.file):
            for number in self._numbers[frames]:
                header = self._study.header(number)
                stored = stored_values(self._study.file, number, rows.start, rows.stop)
                values, hidden = meant_values(stored, header), padding_in(stored, header)
                parts.append(values[:, columns].T)
                hidden = np.zeros(values.shape, np.bool_) if hidden is None else hidden
                covers.append(hidden[:, columns].T)
        hidden = np.stack(covers, axis=2)
        return np.stack(parts, axis=2), hidden if hidden.any() else None

    def _number(self, plane: str, index: int) -> int:
        return self._numbers[index if plane == self.acquired else len(self._numbers) // 2]


def _slices(file: DicomStudy, path: Path) -> tuple[Slice, ...]:
    """The place of each frame; () where not all of them have one."""
    root = file.header(0).root
    if file.frames < 2 or str(root.get("SOPClassUID") or "") == _SEGMENTATION:
        return ()
    if not root.get("PerFrameFunctionalGroupsSequence"):
        return ()
    entry = FileEntry(str(path), None)
    series = hashed(str(root.get("SeriesInstanceUID") or ""))
    instance = str(root.get("SOPInstanceUID") or "")
    colours = str(root.get("PhotometricInterpretation") or "")
    shared = (
        ("frame of reference", hashed(str(root.get("FrameOfReferenceUID") or ""))),
        ("colours", hashed(colours)),
    )
    found = []
    for number in range(file.frames):
        header = file.header(number)
        measures = header.holder("PixelMeasuresSequence", "PixelSpacing")
        position = _values(header, "PlanePositionSequence", "ImagePositionPatient")
        orientation = _values(header, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = credible_spacing(measures.get("PixelSpacing"))
        if len(position) != 3 or len(orientation) != 6 or spacing is None:
            return ()
        found.append(
            Slice(
                entry,
                series,
                hashed(f"{instance} {number}"),
                1,
                colours.startswith("MONOCHROME"),
                file.size,
                spacing,
                orientation_of("\\".join(map(str, orientation))),
                position,
                (*shared, *_said(header, _KIND)),
                _said(header, _REPEATS),
            )
        )
    return tuple(found)


def _values(header: FrameHeader, group: str, keyword: str) -> tuple[float, ...]:
    values = header.numbers(header.holder(group, keyword), keyword)
    return values if all(np.isfinite(values)) else ()


def _said(header: FrameHeader, sought: Any) -> tuple[tuple[str, float | str | None], ...]:
    found: list[tuple[str, float | str | None]] = []
    for name, keyword, groups in sought:
        value: Any = ""
        for group in groups:
            value = value or header.holder(group, keyword).get(keyword) or ""
        text = str(value) if isinstance(value, str | int | float) else "\\".join(map(str, value))
        found.append((name, number_of(text)))
    return tuple(found)
