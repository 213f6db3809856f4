"""A NIfTI file as a study. nibabel reads it; only the slices that are asked for are decoded.

No text of a header is read or quoted.
"""

import gzip
import io
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.grey import Window, as_floats
from medgym.imaging.volumes.grid import VoxelGrid
from medgym.imaging.volumes.study import Ranges, VolumeStudy
from medgym.memory import VARIABLE, image_memory, readable
from medgym.uris import in_a_table

_PACKED = b"\x1f\x8b"
_SIZES = (348, 540)
_STARTS = [struct.pack(f"{order}i", size) for order in "<>" for size in _SIZES]
_MOST_HEADER = 16 * 2**20
"""Bytes that may stand before the voxels."""

_SLAB = 8 * 2**20
"""Bytes that are read at a time where only one column of each row is asked for."""

_MILLIMETRES = {"meter": 1e3, "micron": 1e-3}
_TO_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


def is_nifti(head: bytes, path: Path) -> bool:
    """Whether a file begins as a NIfTI volume does, packed or not."""
    name = path.name.lower()
    if head.startswith(_PACKED):
        if name.endswith((".nii.gz", ".nii")):
            return True
        try:
            head = zlib.decompressobj(31).decompress(head, 352)
        except zlib.error:
            return False
    if name.endswith(".nii") and head[:4] in _STARTS:
        return True  # what it lacks is said where it is read
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")


class NiftiStudy(VolumeStudy):
    """A volume in a NIfTI file.

    Args:
        stream: the file. It is opened again for each image, and must not have changed.
        series: the time point, as a number from 0, where the file has several.
    """

    def __init__(self, stream: BinaryIO, path: Path, series: str | None = None) -> None:
        with _refused_by_name(path):
            self._stamp = _stamp(stream)
            self._header = header = _header(stream, path)
            self._shape = shape = _shape(header, path)
            self._dtype = header.get_data_dtype()
            self._refuse_types(path)
            _refuse_size(stream, path, header)
            self._time = _time_point(shape, path, series)
            low, high = float(header["cal_min"]), float(header["cal_max"])
            is_range = np.isfinite(low) and np.isfinite(high) and low < high
            self._shown = Window((low + high) / 2, high - low) if is_range else None
            grid = VoxelGrid((shape[0], shape[1], shape[2]), _affine(header, path))
        super().__init__(path, grid)

    def need(self, plane: str, index: int) -> int:
        """See `VolumeStudy.need`."""
        return super().need(plane, index) + _SLAB

    def own_window(self) -> Window | None:
        """The range that the file says is shown (cal_min, cal_max)."""
        return self._shown

    def read(self, ranges: Ranges) -> tuple[NDArray[Any], None]:
        """See `VolumeStudy.read`."""
        with _refused_by_name(self.path), open_regular(self.path, "image") as stream:
            if _stamp(stream) != self._stamp:
                raise UserError(f"{self.path} changed while it was read; fix: open it again")
            proxy = _library().arrayproxy.ArrayProxy
            voxels = proxy(_plain(stream), self._header, mmap=False).reshape(self._shape)
            if ranges[0].stop - ranges[0].start > 1:
                raw = self._part(voxels, ranges)
            else:
                # What lies next to each other along i is far apart in the file.
                parts = [self._part(voxels, (*ranges[:2], rows)) for rows in self._slabs(ranges)]
                raw = np.concatenate(parts, axis=2)
        if raw.dtype.names:
            return np.stack([raw[colour] for colour in "RGB"], axis=-1), None
        try:
            return as_floats(raw), None
        except ValueError:
            raise UserError(
                f"{self.path} has whole numbers beyond 2^53; fix: store it as 32-bit integers"
            ) from None

    def _part(self, voxels: Any, ranges: Ranges) -> NDArray[Any]:
        i, j, k = ranges
        rest = [0] * (len(voxels.shape) - 3)
        if rest:
            rest[0] = self._time
        if i.stop - i.start > 1:
            # Whole rows: nibabel reads them at once.
            wanted = (slice(None), j, k) if k.stop - k.start > 1 else (slice(None), j, k.start)
            part = np.asarray(voxels[(*wanted, *rest)])
            if part.ndim == 2:
                part = part[:, :, np.newaxis]
            return part[i]
        return np.asarray(voxels[(slice(None), slice(None), k, *rest)])[i, j]

    def _slabs(self, ranges: Ranges) -> Iterator[slice]:
        width, height, _ = self.grid.shape
        step = max(1, _SLAB // max(1, width * height * self._dtype.itemsize))
        for first in range(ranges[2].start, ranges[2].stop, step):
            yield slice(first, min(first + step, ranges[2].stop))

    def _refuse_types(self, path: Path) -> None:
        names = self._dtype.names
        numbers = self._dtype.kind in "uif" and self._dtype.itemsize <= 8
        if names != ("R", "G", "B") and not numbers:
            raise UserError(
                f"{path} has voxels of a type that has no grey; fix: store numbers of at most 64 "
                "bits, or RGB"
            )


def _library() -> Any:
    try:
        import nibabel
    except ImportError:
        raise UserError(
            "NIfTI needs nibabel, which is not installed; fix: pip install 'medgym[nifti]'"
        ) from None
    # What it warns of quotes the header: a file is opened, or refused in one line.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    return nibabel


def _stamp(stream: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(stream.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


def _plain(stream: BinaryIO) -> Any:
    """The file as it is unpacked, from its start."""
    stream.seek(0)
    packed = stream.read(2) == _PACKED
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream, mode="rb") if packed else stream


def _header(stream: BinaryIO, path: Path) -> Any:
    nibabel = _library()
    head = _plain(stream).read(540)
    size = _SIZES[_STARTS.index(head[:4]) % 2] if head[:4] in _STARTS else 0
    magic = head[344:348] if size == 348 else head[4:8]
    if magic.startswith(b"ni"):
        raise UserError(f"{path} is one of a pair of NIfTI files; fix: save both as one .nii file")
    if not size or len(head) < size:
        raise UserError(f"{path} is cut off within its header; fix: copy it again")
    kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
    header = kind.from_fileobj(io.BytesIO(head[:size]))
    if not size <= int(header["vox_offset"]) <= _MOST_HEADER:
        raise UserError(f"{path} does not say where its voxels begin; fix: save it again")
    return header


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    shape = tuple(int(each) for each in header.get_data_shape())
    shape += (1,) * (3 - len(shape))
    if min(shape) < 1:
        raise UserError(f"{path} says that it has no voxels; fix: save it again")
    if any(each > 1 for each in shape[4:]):
        raise UserError(
            f"{path} has more than one value for each voxel and time; fix: save one of them"
        )
    return shape


def _time_point(shape: tuple[int, ...], path: Path, series: str | None) -> int:
    count = shape[3] if len(shape) > 3 else 1
    known = series is not None and series.isdecimal() and series.isascii() and len(series) < 10
    if series is None and count == 1:
        return 0
    if series is None or not known or int(series) >= count:
        what = "time points" if count > 1 else "time point"
        raise UserError(
            f"{path} has {count} {what}; fix: name one of 0..{count - 1} as the series; "
            f"{in_a_table(path, '0')}"
        )
    return int(series)


def _refuse_size(stream: BinaryIO, path: Path, header: Any) -> None:
    voxels = 1
    for each in header.get_data_shape():
        voxels *= int(each)
    size = int(header["vox_offset"]) + voxels * header.get_data_dtype().itemsize
    if isinstance(_plain(stream), gzip.GzipFile):
        if size > image_memory():
            raise UserError(
                f"{path} unpacks to {readable(size)}, beyond the {readable(image_memory())} for "
                f"images; fix: unpack it to .nii, or raise {VARIABLE}"
            )
    elif size > os.fstat(stream.fileno()).st_size:
        raise UserError(f"{path} is cut off within its voxels; fix: copy it again")


def _affine(header: Any, path: Path) -> NDArray[np.float64]:
    """From voxels to millimetres of the patient, toward left, back and head."""
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        raise UserError(
            f"{path} does not say how it lies in the patient, so left and right are unknown; fix: "
            "save it with an sform or a qform"
        )
    affine = np.array(header.get_best_affine(), np.float64)
    unit = header.get_xyzt_units()[0]
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not sides.min() > 0:
        raise _flat(path)
    if abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:
        raise _flat(path)
    return np.asarray(_TO_LPS @ affine)


def _flat(path: Path) -> UserError:
    return UserError(f"{path} has an affine that is no map of a volume; fix: save it again")


@contextmanager
def _refused_by_name(path: Path) -> Iterator[None]:
    """Turns whatever a library raises into a `UserError`. It never quotes the library, whose texts
    may quote the header."""
    try:
        yield
    except UserError:
        raise
    except EOFError as error:
        raise UserError(f"{path} is cut off; fix: copy it again") from error
    except Exception as error:
        said = type(error).__name__
        raise UserError(
            f"{path} is not a readable NIfTI volume ({said}); fix: convert or replace it"
        ) from error
