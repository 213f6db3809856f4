"""What stored values mean: the modality transformation, PS3.3 C.11.1 and C.8.8.3."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.dicom.lookup import table_of
from medgym.imaging.grey import as_floats
from medgym.imaging.strips import mapped

GROUP = "PixelValueTransformationSequence"

STEPS = 2**18
"""How many steps of a rescaled value may lie between it and 0 for float32 to hold it: its error is
then a 64th of a step at the most."""


def meant_values(stored: NDArray[Any], header: FrameHeader) -> NDArray[Any]:
    """The values that a modality means by stored ones, as float32 if that keeps them apart, else as
    float64.

    Raises:
        UserError: the header does not say how to calculate them, or float64 does not hold them.
    """
    try:
        tables = header.root.get("ModalityLUTSequence") or ()
        if tables:
            signed = bool(header.root.get("PixelRepresentation"))
            table = table_of(header, tables[0], "LUTDescriptor", "LUTData", signed=signed)
            return mapped(stored, np.float32, table)
        slope, intercept = rescaling(header)
        if (slope, intercept) == (1.0, 0.0):
            return as_floats(stored)
        if stored.dtype.kind in "ui":
            most = float(max(-int(stored.min()), int(stored.max())))
            if most > 2**53:
                raise ValueError
            steps = most + abs(intercept / slope) if slope else 0.0
            whole = slope.is_integer() and intercept.is_integer()
            enough = STEPS if not whole else 2**24 / max(1.0, abs(slope))
            dtype: Any = np.float32 if steps <= enough else np.float64
            return mapped(stored, dtype, lambda rows: rows.astype(np.float64) * slope + intercept)
        rescaled = mapped(stored, np.float64, lambda rows: rows * slope + intercept)
        return rescaled.astype(np.float32) if stored.dtype.itemsize == 4 else as_floats(rescaled)
    except ValueError:
        raise UserError(
            f"{header.path} has whole numbers beyond 2^53; fix: store it with 32 bits"
        ) from None


def rescaling(header: FrameHeader) -> tuple[float, float]:
    """The slope and the intercept of a frame."""
    if header.root.get("DoseGridScaling") not in (None, ""):
        return header.number(header.root, "DoseGridScaling", 1.0), 0.0
    holder = header.holder(GROUP, "RescaleSlope", "RescaleIntercept")
    return (
        header.number(holder, "RescaleSlope", 1.0),
        header.number(holder, "RescaleIntercept", 0.0),
    )


def unit_of(header: FrameHeader) -> Literal["HU", "Gy"] | None:
    """What the values measure: Hounsfield units unless a CT says otherwise, or Gray."""
    if header.text("DoseUnits").upper() == "GY":
        return "Gy"
    holder = header.holder(GROUP, "RescaleSlope", "RescaleIntercept")
    said = str(holder.get("RescaleType") or "").strip().upper()
    if said:
        return "HU" if said == "HU" else None
    rescaled = holder.get("RescaleIntercept") not in (None, "")
    return "HU" if header.text("Modality") == "CT" and rescaled else None
