"""A phantom volume as a study: axial, coronal and sagittal planes, drawn when asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.grey import Window
from medgym.imaging.imaging_study import Region, part_of
from medgym.imaging.rendering import Box, Study
from medgym.imaging.slabs import Slab
from medgym.imaging.volumes.grid import AXIAL, VoxelGrid
from medgym.imaging.volumes.study import Ranges, VolumeStudy
from medgym.sources.phantom.studies.plan import StudyPlan
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.sources.phantom.studies.signals import TONED
from medgym.sources.phantom.studies.stack import image_values
from medgym.sources.phantom.studies.textures import view_sizes


class PhantomVolume(VolumeStudy):
    """The volume of a plan."""

    def __init__(self, plan: StudyPlan) -> None:
        steps = (plan.spacing_mm, plan.spacing_mm, plan.step_mm)
        shape = (plan.size, plan.size, plan.depth)
        affine = np.diag((*steps, 1.0))
        affine[:3, 3] = [-step * (count - 1) / 2 for step, count in zip(steps, shape, strict=True)]
        super().__init__(Path(plan.uri), VoxelGrid(shape, affine))
        self.plan = plan
        self.modality = STUDY_LOOKS[plan.name.look].setting.modality
        self.unit = "HU" if self.modality == "CT" else None

    def own_window(self) -> Window | None:
        """See `VolumeStudy.own_window`."""
        return TONED[self.plan.name.look].window(self.plan)

    def windows(self, plane: str, index: int) -> tuple[Window, ...]:
        """See `ImagingStudy.windows`."""
        self._check(plane, index)
        window = self.own_window()
        return () if window is None else (window,)

    def read(self, ranges: Ranges) -> tuple[NDArray[Any], None]:
        """See `VolumeStudy.read`."""
        i, j, k = ranges
        parts = [image_values(self.plan, index)[j, i] for index in range(k.start, k.stop)]
        return np.stack(parts).transpose(2, 1, 0), None

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        return replace(super().decode(plane, index, region), view_sizes=view_sizes(self.plan.size))

    def slab(self, plane: str, index: int, slab: Slab, box_px: Box | None = None) -> Study:
        """See `ImagingStudy.slab`. Coronal and sagittal slabs read each axial image only once, and
        one through the whole volume is shown in a window of its own, as a scout is."""
        if plane == AXIAL:
            return super().slab(plane, index, slab, box_px)
        region = self._region(plane, index, box_px)
        count = self.planes[plane].count
        within = slab.around(index, count)
        pixels = self._projection(plane, within, slab)
        made = replace(self.decode(plane, index, (0, 0, 1, 1)), pixels=pixels)
        if len(within) == count:
            made = replace(made, window=scout_window(pixels))
        return part_of(made, region)

    def _projection(self, plane: str, within: range, slab: Slab) -> NDArray[np.float32]:
        sides = self.grid.sides[plane]
        across = 0 if sides.index.axis == 1 else 1  # of an axial image's (rows, columns)
        part = (slice(within.start, within.stop), slice(None))[:: 1 - 2 * across]
        rows = []
        for index in range(self.plan.depth):
            values = image_values(self.plan, index)[part]
            if slab.how == "mean":
                rows.append(values.mean(axis=across, dtype=np.float64))
            else:
                extreme = np.max if slab.how == "maximum" else np.min
                rows.append(extreme(values, axis=across))
        # The first row is that of the head.
        return np.stack(rows[::-1]).astype(np.float32)


def scout_window(pixels: NDArray[np.float32]) -> Window:
    """From a value that lies above that of a third of the pixels to the greatest."""
    ordered = np.sort(pixels, axis=None)
    low, high = float(ordered[len(ordered) // 3]), float(ordered[-1])
    return Window((low + high) / 2, max(high - low, 1.0))
