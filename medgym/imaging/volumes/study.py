"""A volume as a study: axial, coronal and sagittal planes through one grid of voxels."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.grey import LookupTable, Window, full_window
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region
from medgym.imaging.limits import make_room, refuse_bomb
from medgym.imaging.rendering import Study
from medgym.imaging.volumes.grid import GridAxis, Point, VoxelGrid

Ranges = tuple[slice, slice, slice]
"""The part of a grid that is asked for, along i, j and k. One of them is one voxel long."""


class VolumeStudy(ImagingStudy):
    """A volume. The index of a plane grows toward the patient's left, back or head.

    Attributes:
        grid: where its voxels are.
    """

    def __init__(self, path: Path, grid: VoxelGrid) -> None:
        super().__init__(str(path))
        self.path = path
        self.grid = grid
        self._full: dict[tuple[str, int], Window] = {}

    @cached_property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`. A plane is named by the patient's axis that is closest."""
        return {name: self.grid.plane(name) for name in self.plane_names}

    @property
    def plane_names(self) -> tuple[str, ...]:
        """The planes in which this volume can be shown."""
        return tuple(self.grid.sides)

    @property
    def oblique_degrees(self) -> float:
        """How far the planes are turned from those of the patient whose names they have, at most.
        The pictures of an oblique volume keep its own axes."""
        return self.grid.oblique_degrees

    def to_patient(self, plane: str, index: float, point_px: tuple[float, float]) -> Point:
        """Where a point of a picture is: millimetres toward the patient's left, back and head.

        Args:
            point_px: (x, y) from the top left corner; the centre of the first pixel is (0.5, 0.5).
        """
        self._check(plane, round(index))
        return self.grid.to_patient(plane, index, *point_px)

    def from_patient(self, plane: str, point: Point) -> tuple[float, tuple[float, float]]:
        """The index and the (x, y) in pixels of a point of the patient, which may lie outside. The
        index is not rounded: 3.4 lies between the images 3 and 4."""
        self._check(plane, 0)
        index, x, y = self.grid.from_patient(plane, point)
        return index, (x, y)

    def place_mm(self, plane: str, index: int) -> float | None:
        """See `ImagingStudy.place_mm`: of the middle of the image."""
        width, height = self._check(plane, index).size
        axis = ("sagittal", "coronal", "axial").index(plane)
        return self.grid.to_patient(plane, index, width / 2, height / 2)[axis]

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        self._refuse_large(plane, index)
        pixels, hidden = self._picture(plane, index, region)
        spacing = self.planes[plane].spacing_mm
        return Study(
            pixels,
            spacing,
            self.modality,
            self._window(plane, index, region, pixels, hidden),
            pixel_aspect=self.grid.aspect(plane),
            hidden=hidden,
            unit=self.unit,
        )

    def need(self, plane: str, index: int) -> int:
        """Bytes of memory that decoding and showing an image takes."""
        width, height = self.planes[plane].size
        return 40 * width * height

    modality: str | None = None
    unit: Any = None

    @abstractmethod
    def read(self, ranges: Ranges) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """The values of a part of the grid as (i, j, k), or (i, j, k, 3) of colours; and which of
        them hold no measurement."""

    def own_window(self) -> Window | LookupTable | None:
        """The window that the file has for every plane."""
        return None

    def _refuse_large(self, plane: str, index: int) -> None:
        self._check(plane, index)
        refuse_bomb(self.path, *self.planes[plane].size)
        make_room(self.path, self.need(plane, index))

    def _window(
        self,
        plane: str,
        index: int,
        region: Region,
        pixels: NDArray[Any],
        hidden: NDArray[np.bool_] | None,
    ) -> Window | LookupTable | None:
        if pixels.ndim == 3:
            return None
        own = self.own_window()
        if own is not None:
            return own
        known = self._full.get((plane, index))
        if known is None:
            whole = (0, 0, *self.planes[plane].size)
            if region != whole:
                pixels, hidden = self._picture(plane, index, whole)
            known = self._full[plane, index] = full_window(
                pixels, hidden, inverted=self.is_inverted
            )
        return known

    is_inverted = False

    def _picture(
        self, plane: str, index: int, region: Region
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """A region of an image, turned as it is shown."""
        sides = self.grid.sides[plane]
        x0, y0, x1, y1 = region
        wanted = ((sides.index, index, index + 1), (sides.row, y0, y1), (sides.column, x0, x1))
        ranges = [slice(0, 0)] * 3
        for side, first, end in wanted:
            ranges[side.axis] = self._range(side, first, end)
        values, hidden = self.read((ranges[0], ranges[1], ranges[2]))

        def turned(block: NDArray[Any]) -> NDArray[Any]:
            order = (sides.index.axis, sides.row.axis, sides.column.axis, 3)[: block.ndim]
            picture = block.transpose(order)[0]
            if sides.row.backwards:
                picture = picture[::-1]
            if sides.column.backwards:
                picture = picture[:, ::-1]
            return np.ascontiguousarray(picture)

        return turned(values), None if hidden is None else turned(hidden)

    def _range(self, side: GridAxis, first: int, end: int) -> slice:
        count = self.grid.shape[side.axis]
        return slice(count - end, count - first) if side.backwards else slice(first, end)


def named_image(study: ImagingStudy, plane: str | None, index: int | None) -> tuple[str, int]:
    """The plane and the index that a case names. What there is only one of needs no name.

    Raises:
        UserError: it does not say which is meant.
    """
    if plane is None and len(study.planes) == 1:
        plane = next(iter(study.planes))
    known = None if plane is None else study.planes.get(plane)
    if index is None and known is not None and known.count == 1:
        index = 0
    if plane is None or index is None:
        offered = ", ".join(f"{name} 0..{each.count - 1}" for name, each in study.planes.items())
        raise UserError(f"{study.name} needs a plane and an index; fix: name one of {offered}")
    return plane, index
