"""A volume that is an array: planes along its axes, without a place in the patient."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.grey import Window, full_window
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region
from medgym.imaging.rendering import Study


class ArrayStudy(ImagingStudy):
    """A volume of grey values whose file says nothing of millimetres or of the patient's sides.

    Args:
        values: three axes; it may be mapped from a file.
        axes: the planes by name, each with the axis along which its index grows. The rows and the
            columns of its images are the other two axes, in their order.
        window: in which every image is shown. By default bytes are shown as they are, and other
            values from the least to the greatest of an image.
    """

    def __init__(
        self,
        name: str,
        values: NDArray[Any],
        axes: Mapping[str, int],
        modality: str | None = None,
        window: Window | None = None,
        unit: Literal["HU"] | None = None,
    ) -> None:
        super().__init__(name)
        self._values = values
        self._axes = dict(axes)
        self._modality = modality
        self._window = window
        self._unit = unit

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        made = {}
        for name, axis in self._axes.items():
            height, width = (side for at, side in enumerate(self._values.shape) if at != axis)
            made[name] = Plane(self._values.shape[axis], (width, height))
        return made

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        x0, y0, x1, y1 = region
        whole = np.array(self._values.take(index, axis=self._axes[plane]))
        window = self._window
        if window is None and whole.dtype != np.uint8:
            window = full_window(whole)
        part = np.ascontiguousarray(whole[y0:y1, x0:x1])
        return Study(part, None, self._modality, window, unit=self._unit)
