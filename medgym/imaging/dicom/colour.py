"""Colours: palettes, and samples of more than 8 bits, PS3.3 C.7.6.3.1.5 and C.7.9."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.dicom.functional_groups import FrameHeader
from medgym.imaging.dicom.lookup import StoredTable, table_of

COLOURS = ("Red", "Green", "Blue")


def palette_colours(stored: NDArray[Any], header: FrameHeader) -> NDArray[np.uint8]:
    """The colours of stored values, 8 bits each.

    A palette of 16 bits whose entries are all below 256 holds 8-bit values, as some writers do it.
    """
    tables = _tables(header)
    deep = any(table.entries.max() > 255 for table in tables)
    colours = np.empty((*stored.shape, 3), np.uint8)
    for place, table in enumerate(tables):
        levels = (table.entries >> 8 if deep else table.entries).astype(np.uint16)
        colours[..., place] = StoredTable(table.first, 8, levels)(stored)
    return colours


def _tables(header: FrameHeader) -> list[StoredTable]:
    root = header.root
    signed = bool(root.get("PixelRepresentation"))
    if "RedPaletteColorLookupTableData" in root:
        return [
            table_of(
                header,
                root,
                f"{colour}PaletteColorLookupTableDescriptor",
                f"{colour}PaletteColorLookupTableData",
                signed=signed,
            )
            for colour in COLOURS
        ]
    described = header.numbers(root, "RedPaletteColorLookupTableDescriptor")
    if "SegmentedRedPaletteColorLookupTableData" not in root or len(described) != 3:
        raise UserError(f"{header.path} has no palette for its pixels; fix: export it as RGB")
    from pydicom.pixels import apply_color_lut

    length, first, bits = (int(each) for each in described)
    values = np.arange(length or 2**16) + first
    colours = apply_color_lut(values, root).astype(np.uint16)
    return [StoredTable(first, bits, colours[..., place]) for place in range(3)]


_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422")
_JPEG2000 = ("YBR_RCT", "YBR_ICT")


def refuse_unknown_colours(header: FrameHeader, samples: int, *, compressed: bool) -> None:
    """`UserError` where the colours of a file are none that medgym reads, or would be lost."""
    space = header.text("PhotometricInterpretation")
    known = {1: _GREY, 3: (*_COLOUR, *_JPEG2000) if compressed else _COLOUR}
    if space not in known.get(samples, ()):
        raise UserError(
            f"{header.path} has a photometric interpretation that medgym does not read with "
            f"{samples} sample(s) per pixel; fix: export it as MONOCHROME2 or RGB"
        )
    if header.text("PixelPresentation").upper() in ("COLOR", "MIXED"):
        raise UserError(
            f"{header.path} has a supplemental palette, which medgym does not read; fix: export it "
            "as RGB"
        )
    if header.root.get("PresentationLUTSequence"):
        raise UserError(
            f"{header.path} has a presentation lookup table, which medgym does not read; fix: "
            "export it without"
        )
