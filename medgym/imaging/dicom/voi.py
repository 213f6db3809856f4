"""How values are shown: the VOI transformation and its inversion, PS3.3 C.11.2 and C.11.6."""

import math
from typing import Any, cast

import numpy as np

from medgym.errors import UserError
from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.dicom.lookup import table_of
from medgym.imaging.grey import LookupTable, Window, WindowFunction

GROUP = "FrameVOILUTSequence"
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def own_windows(header: FrameHeader) -> tuple[Window | LookupTable, ...]:
    """The tables and windows of a frame, in the order in which a viewer takes them.

    A VOI LUT sequence comes before windows. A window that is not finite or not above 0 is none.

    Raises:
        UserError: one of them is damaged.
    """
    holder = _holder(header)
    inverted = is_inverted(header)
    found: list[Window | LookupTable] = []
    for item in holder.get("VOILUTSequence") or ():
        if item.get("LUTDescriptor") is not None and item.get("LUTData") is not None:
            found.append(_table(header, item, inverted))
    centres = header.numbers(holder, "WindowCenter")
    widths = header.numbers(holder, "WindowWidth")
    for centre, width in zip(centres, widths, strict=False):
        if math.isfinite(centre) and 0 < width < math.inf:
            found.append(Window(centre, width, function_of(header), inverted))
    return tuple(found)


def function_of(header: FrameHeader) -> WindowFunction:
    """The function of a frame's windows."""
    said = str(_holder(header).get("VOILUTFunction") or "LINEAR").strip().upper()
    if said not in _FUNCTIONS:
        raise UserError(
            f"VOILUTFunction of {header.path} is none that the standard has; fix: write one of "
            f"{', '.join(_FUNCTIONS)}"
        )
    return cast(WindowFunction, said)


def is_inverted(header: FrameHeader) -> bool:
    """Whether low values are white."""
    return (
        header.text("PhotometricInterpretation") == "MONOCHROME1"
        or header.text("PresentationLUTShape").upper() == "INVERSE"
    )


def _holder(header: FrameHeader) -> Any:
    return header.holder(GROUP, "VOILUTSequence", "WindowCenter", "WindowWidth")


def _table(header: FrameHeader, item: Any, inverted: bool) -> LookupTable:
    # The table is looked up with modality values: those of a CT are negative though stored ones may
    # not be.
    table = table_of(header, item, "LUTDescriptor", "LUTData", signed=_may_be_negative(header))
    most = 2**table.bits - 1
    levels = np.rint(np.minimum(table.entries, most) * (255.0 / most)).astype(np.uint8)
    return LookupTable(table.first, levels.tobytes(), inverted)


def _may_be_negative(header: FrameHeader) -> bool:
    from medgym.imaging.dicom.modality import rescaling

    if header.root.get("ModalityLUTSequence"):
        return False
    slope, intercept = rescaling(header)
    return bool(header.root.get("PixelRepresentation")) or intercept < 0 or slope < 0
