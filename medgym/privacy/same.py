"""Whether a scrubbed file is the same image as its original, as medgym opens both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medgym.errors import UserError
from medgym.imaging.imaging_study import Region
from medgym.imaging.study import open_study
from medgym.privacy.burnt_in import outside


def refuse_other(original: Path, scrubbed: Path, boxes: Sequence[Region]) -> None:
    """Compare planes, spacing, and the values and windows of the first, the middle and the last
    image of each plane; what lies in `boxes` was masked.

    Raises:
        UserError: they differ, or one of them cannot be opened.
    """
    one, other = open_study(original), open_study(scrubbed)
    if dict(one.planes) != dict(other.planes):
        raise _differs(original, "size or spacing")
    for plane, about in one.planes.items():
        for index in sorted({0, about.count // 2, about.count - 1}):
            here, there = one.image(plane, index), other.image(plane, index)
            kept = outside(about.size, boxes)
            if not np.array_equal(here.pixels[kept], there.pixels[kept], equal_nan=True):
                raise _differs(original, "values")
            if not boxes and (here.window != there.window or here.unit != there.unit):
                raise _differs(original, "window or unit")
            if one.windows(plane, index) != other.windows(plane, index):
                raise _differs(original, "windows")


def _differs(original: Path, what: str) -> UserError:
    return UserError(
        f"{original} would open with another {what} after it was scrubbed; fix: convert it first"
    )
