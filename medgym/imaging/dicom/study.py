"""A DICOM file as a study: one plane of its frames."""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.dicom.colour import palette_colours, refuse_unknown_colours
from medgym.imaging.dicom.file import DicomFile
from medgym.imaging.dicom.frames import stored_values
from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.dicom.hidden import padding_in, shuttered
from medgym.imaging.dicom.measures import measures_of
from medgym.imaging.dicom.modality import meant_values, unit_of
from medgym.imaging.dicom.times import seconds_of
from medgym.imaging.dicom.voi import function_of, is_inverted, own_windows
from medgym.imaging.grey import LookupTable, Window, WindowFunction, full_window
from medgym.imaging.imaging_study import FRAME, IMAGE, ImagingStudy, Plane, Region
from medgym.imaging.limits import make_room
from medgym.imaging.rendering import Study
from medgym.imaging.spacing import Origin, Spacing


class DicomStudy(ImagingStudy):
    """The frames of a DICOM file, each read when it is asked for.

    Args:
        stream: the file. It is opened again for each frame, and must not have changed.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        with refused_by_name(path):
            self._file = DicomFile(stream, path)
            claim = self._file.claim
            if claim.frames < 1:
                raise UserError(
                    f"{path} says that it holds {claim.frames} frames; fix: correct NumberOfFrames"
                )
            samples = int(self._file.header.get("SamplesPerPixel") or 1)
            compressed = self._file.compressed
            refuse_unknown_colours(self.header(0), samples, compressed=compressed)
            self.frames = claim.frames
            self.plane = IMAGE if self.frames == 1 else FRAME
            self._full: dict[int, Window] = {}
            self._planes: dict[str, Plane] = {}
        super().__init__(str(path))

    @property
    def file(self) -> DicomFile:
        """Where its pixels are."""
        return self._file

    def need(self, index: int) -> int:
        """Bytes of memory that decoding a frame takes."""
        return self._file.need

    def frame(self, index: int) -> Study:
        """A whole frame."""
        return self.decode(self.plane, index, (0, 0, *self.size))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of a frame in pixels."""
        return self._file.claim.width, self._file.claim.height

    @property
    def planes(self) -> dict[str, Plane]:
        """See `ImagingStudy.planes`."""
        if not self._planes:
            with refused_by_name(self._file.path):
                own = self._file.header.get("PerFrameFunctionalGroupsSequence")
                found = {self._measures(index) for index in range(self.frames if own else 1)}
            spacing, origin = found.pop() if len(found) == 1 else (None, None)
            self._planes = {self.plane: Plane(self.frames, self.size, spacing, origin)}
        return self._planes

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """See `ImagingStudy.windows`."""
        self._check(plane, index)
        with refused_by_name(self._file.path):
            return own_windows(self.header(index))

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """See `ImagingStudy.window_function`: what the file says, LINEAR where it says nothing."""
        self._check(plane, index)
        return function_of(self.header(index))

    def seconds(self, plane: str) -> Sequence[float] | None:
        """See `ImagingStudy.seconds`."""
        self._check(plane, 0)
        return seconds_of(self.header(0), self.frames)

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        with refused_by_name(self._file.path, self._file):
            make_room(self._file.path, self._file.need)
            header = self.header(index)
            measures = measures_of(header)
            stored = stored_values(self._file, index, region[1], region[3])
            shutter = shuttered(header, self._file.claim.width, self._file.claim.height)
            window: Window | LookupTable | None
            if stored.ndim == 3 or header.text("PhotometricInterpretation") == "PALETTE COLOR":
                pixels, window = _colours(stored, header)
                hidden = None if shutter is None else shutter[region[1] : region[3]]
            else:
                pixels = meant_values(stored, header)
                hidden = _either(padding_in(stored, header), shutter, region)
                windows = own_windows(header)
                window = windows[0] if windows else self._full_window(index, region, pixels, hidden)
            left, right = region[0], region[2]
            measured = measures.origin == "patient" and measures.everywhere
            return Study(
                np.ascontiguousarray(pixels[:, left:right]),
                measures.spacing_mm if measured else None,
                header.text("Modality") or None,
                window,
                pixel_aspect=measures.aspect,
                calibrated=tuple(
                    ((x0 - left, y0 - region[1], x1 - left, y1 - region[1]), spacing)
                    for (x0, y0, x1, y1), spacing in measures.regions
                ),
                hidden=None if hidden is None else hidden[:, left:right],
                unit=unit_of(header) if stored.ndim == 2 else None,
            )

    def header(self, index: int) -> FrameHeader:
        """What the file says of a frame."""
        file = self._file
        return FrameHeader(file.header, index, file.path, little=file.little)

    def _measures(self, index: int) -> tuple[Spacing | None, Origin | None]:
        found = measures_of(self.header(index))
        return found.spacing_mm, found.origin

    def _full_window(
        self,
        index: int,
        region: Region,
        pixels: NDArray[Any],
        hidden: NDArray[np.bool_] | None,
    ) -> Window:
        """The window of the whole image, of which only a part may be at hand."""
        header = self.header(index)
        inverted = is_inverted(header)
        if int(header.root.get("BitsStored") or 8) == 1:
            return Window(0.5, 1.0, inverted=inverted)
        known = self._full.get(index)
        if known is None:
            if region[1] > 0 or region[3] < self._file.claim.height:
                stored = stored_values(self._file, index, 0, self._file.claim.height)
                pixels = meant_values(stored, header)
                height, width = stored.shape
                shutter = shuttered(header, width, height)
                hidden = _either(padding_in(stored, header), shutter, (0, 0, width, height))
            known = self._full[index] = full_window(pixels, hidden, inverted=inverted)
        return known


def _colours(stored: NDArray[Any], header: FrameHeader) -> tuple[NDArray[Any], Window | None]:
    """The colours of stored values, and the window of those with more than 8 bits: all that their
    bits can say, as the standard has no other for colours."""
    if stored.ndim == 2:
        return palette_colours(stored, header), None
    bits = int(header.root.get("BitsStored") or 8 * stored.dtype.itemsize)
    if stored.dtype == np.uint8 and bits == 8:
        return stored, None
    if stored.dtype.kind != "u":
        raise UserError(f"{header.path} has colours below 0; fix: export them as unsigned")
    most = 2.0**bits - 1
    return stored, Window(most / 2, most)


def _either(
    padding: NDArray[np.bool_] | None, shutter: NDArray[np.bool_] | None, region: Region
) -> NDArray[np.bool_] | None:
    covered = None if shutter is None else shutter[region[1] : region[3]]
    if padding is None or covered is None:
        return covered if padding is None else padding
    return padding | covered


@contextmanager
def refused_by_name(path: Path, file: DicomFile | None = None) -> Iterator[None]:
    """Turns whatever a library raises into a `UserError` that says what is wrong.

    It never quotes the library: its texts may quote the header, where a patient's name may stand.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(_unreadable(path, file, error)) from error


def _has_decoder(syntax: Any) -> bool:
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:  # pydicom does not know the syntax
        return False


def _unreadable(path: Path, file: DicomFile | None, error: Exception) -> str:
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import RLELossless

    if file is not None and file.compressed and isinstance(error, RuntimeError):
        how = file.syntax.name if not file.syntax.is_private else "a private transfer syntax"
        if file.syntax == RLELossless:  # pydicom itself decodes it
            return f"{path} has damaged pixels, compressed with {how}; fix: copy it again"
        if importlib.util.find_spec("gdcm") is None:
            if _has_decoder(file.syntax):
                return (
                    f"{path} is compressed with {how}, and the decoder that is installed does not "
                    "read it; fix: copy it again, or pip install 'medgym[dicom]'"
                )
            return (
                f"{path} is compressed with {how}, and no decoder of it is installed; fix: pip "
                "install 'medgym[dicom]'"
            )
        return f"{path} is compressed with {how}, which no decoder reads; fix: decompress it"
    if isinstance(error, InvalidDicomError):
        return f"{path} is not a readable DICOM image (it does not begin like one); fix: replace it"
    said = type(error).__name__
    return f"{path} is not a readable DICOM image ({said}); fix: convert or replace it"
