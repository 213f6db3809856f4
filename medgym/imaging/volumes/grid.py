"""Where the voxels of a volume are in the patient, and how a radiologist looks at them.

Patient coordinates are those of DICOM: millimetres toward the patient's left, back and head (LPS).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.imaging_study import Plane
from medgym.imaging.spacing import credible_spacing

Point = tuple[float, float, float]
"""(x, y, z) in millimetres toward the patient's left, back and head."""

AXIAL, CORONAL, SAGITTAL = "axial", "coronal", "sagittal"

_NORMAL = {SAGITTAL: 0, CORONAL: 1, AXIAL: 2}
"""The patient's axis that stands upright on each plane."""

_SIDES = {AXIAL: ((1, 1), (0, 1)), CORONAL: ((2, -1), (0, 1)), SAGITTAL: ((2, -1), (1, 1))}
"""Where the rows and the columns of a picture go: the patient's axis and its direction. Axial: down
to the back, right to the left side. Coronal: down to the feet, right to the left side. Sagittal:
down to the feet, right to the back."""

SKEWED = 1e-3
"""The cosine from which two sides of a pixel are not upright on each other."""


@dataclass(frozen=True)
class GridAxis:
    """An axis of the grid, and whether it is followed backwards."""

    axis: int
    backwards: bool = False


@dataclass(frozen=True)
class PlaneAxes:
    """The axes of the grid that a plane's index, rows and columns follow: `row` is the one along
    which the number of the row grows."""

    index: GridAxis
    row: GridAxis
    column: GridAxis


AS_STORED = PlaneAxes(GridAxis(2), GridAxis(1), GridAxis(0))
"""The images of a series, each as its file has it."""


class VoxelGrid:
    """The voxels of a volume: how many, and where the centre of each is.

    Args:
        shape: voxels along the axes i, j, k.
        affine: 4 x 4; voxel (i, j, k) is centred at `affine @ (i, j, k, 1)`.
        stored: whether the images along k are shown as they are stored.
    """

    def __init__(
        self, shape: tuple[int, int, int], affine: NDArray[np.float64], *, stored: bool = False
    ) -> None:
        self.shape = shape
        self.affine = affine
        self._inverse = np.linalg.inv(affine)
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        self._lengths = tuple(float(each) for each in lengths)
        self._directions = affine[:3, :3] / lengths
        self._closest = closest_axes(self._directions)
        self.acquired = next(name for name, axis in _NORMAL.items() if self._closest[2] == axis)
        self.sides = {name: self._sides(name) for name in (AXIAL, CORONAL, SAGITTAL)}
        if stored:
            # First comes the plane whose images are files.
            self.sides = {self.acquired: AS_STORED} | {
                name: sides for name, sides in self.sides.items() if name != self.acquired
            }

    @property
    def oblique_degrees(self) -> float:
        """The angle between an axis of the grid and the patient's axis that is closest, at most."""
        cosines = [abs(self._directions[self._closest[axis], axis]) for axis in range(3)]
        return float(np.degrees(np.arccos(min(1.0, *cosines))))

    def plane(self, name: str) -> Plane:
        """A plane. Where its pixels are skewed it has no spacing."""
        sides = self.sides[name]
        row, column = sides.row.axis, sides.column.axis
        skew = abs(float(self._directions[:, row] @ self._directions[:, column]))
        spacing = credible_spacing((self._lengths[row], self._lengths[column]))
        if skew > SKEWED:
            spacing = None
        size = self.shape[column], self.shape[row]
        origin: Any = "patient" if spacing else None
        return Plane(self.shape[sides.index.axis], size, spacing, origin)

    def aspect(self, name: str) -> float:
        """The height of a pixel divided by its width."""
        sides = self.sides[name]
        return self._lengths[sides.row.axis] / self._lengths[sides.column.axis]

    def to_patient(self, name: str, index: float, x: float, y: float) -> Point:
        """Where a point of a picture is, see `VolumeStudy.to_patient`."""
        sides = self.sides[name]
        voxel = np.ones(4)
        for side, place in ((sides.index, index), (sides.row, y - 0.5), (sides.column, x - 0.5)):
            voxel[side.axis] = self._turned(side, place)
        x_mm, y_mm, z_mm = (self.affine @ voxel)[:3]
        return float(x_mm), float(y_mm), float(z_mm)

    def from_patient(self, name: str, point: Point) -> tuple[float, float, float]:
        """The index, x and y of a point of the patient, see `VolumeStudy.from_patient`."""
        sides = self.sides[name]
        voxel = self._inverse @ (*point, 1.0)
        index, row, column = (
            float(self._turned(side, voxel[side.axis]))
            for side in (sides.index, sides.row, sides.column)
        )
        return index, column + 0.5, row + 0.5

    def _turned(self, side: GridAxis, place: float) -> float:
        return self.shape[side.axis] - 1 - place if side.backwards else place

    def _sides(self, name: str) -> PlaneAxes:
        (down, below), (across, right) = _SIDES[name]
        return PlaneAxes(self._along(_NORMAL[name], 1), self._along(down, below),
                     self._along(across, right))  # fmt: skip

    def _along(self, patient: int, direction: int) -> GridAxis:
        axis = self._closest.index(patient)
        return GridAxis(axis, bool(self._directions[patient, axis] * direction < 0))


def closest_axes(directions: NDArray[np.float64]) -> list[int]:
    """The patient's axis that is closest to each axis of a grid; each is taken once."""
    # The rotation that is closest to the directions: sheared axes are pulled apart evenly.
    left, _, right = np.linalg.svd(directions)
    left_over = np.abs(left @ right)
    found = [0, 0, 0]
    for _ in range(3):
        patient, axis = divmod(int(left_over.argmax()), 3)
        found[axis] = patient
        left_over[patient, :] = left_over[:, axis] = -1.0
    return found
