"""The distance between pixels: what is believed, and what counts as unknown."""

import math
from typing import Any, Literal

Spacing = tuple[float, float]
"""Millimetres per pixel as (row, column): the height and the width of a pixel."""

Origin = Literal["patient", "detector"]
"""Where the millimetres of a spacing are: in the patient, or at the detector or film, where they
are magnified."""

LEAST_MM, MOST_MM = 1e-4, 100.0
"""Millimetres per pixel that an image can have: a microscope's 0.1 micrometres are the least. What
lies outside is a fault of the file, and a measure made with it would be wrong without a word."""


def credible_spacing(given: Any) -> Spacing | None:
    """Millimetres per pixel as (row, column); None for what is no such pair, or is absurd."""
    try:
        row, column = (float(value) for value in given)
    except (TypeError, ValueError, OverflowError):
        return None
    if not all(math.isfinite(v) and LEAST_MM <= v <= MOST_MM for v in (row, column)):
        return None
    return row, column
