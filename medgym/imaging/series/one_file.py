"""The one file of a series that has no place in the patient, or has several frames."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from medgym.files import open_regular
from medgym.imaging.dicom.study import DicomStudy
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region
from medgym.imaging.rendering import Study
from medgym.imaging.series.entries import Entry


def opened_file(path: Path) -> DicomStudy:
    """A DICOM file at a path."""
    with open_regular(path, "image") as stream:
        return DicomStudy(stream, path)


class OneFile(ImagingStudy):
    """A file of a folder or a zip, which is opened again whenever something is asked of it."""

    def __init__(self, path: Path, entry: Entry) -> None:
        super().__init__(str(path))
        self._entry = entry

    @cached_property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        with self._entry.readable() as path:
            return opened_file(path).planes

    @property
    def frames(self) -> int:
        """How many images it has."""
        return sum(plane.count for plane in self.planes.values())

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        with self._entry.readable() as path:
            return opened_file(path).decode(plane, index, region)

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """See `ImagingStudy.windows`."""
        with self._entry.readable() as path:
            return opened_file(path).windows(plane, index)

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """See `ImagingStudy.window_function`."""
        with self._entry.readable() as path:
            return opened_file(path).window_function(plane, index)

    def seconds(self, plane: str) -> Sequence[float] | None:
        """See `ImagingStudy.seconds`."""
        with self._entry.readable() as path:
            return opened_file(path).seconds(plane)

    def frame(self, index: int) -> Study:
        """A whole frame."""
        with self._entry.readable() as path:
            return opened_file(path).frame(index)

    def need(self, index: int) -> int:
        """Bytes of memory that decoding a frame takes."""
        with self._entry.readable() as path:
            return opened_file(path).need(index)
