"""A picture of pairs of images that show one image, side by side."""

from collections.abc import Sequence

from PIL import Image

from medgym.errors import UserError
from medgym.imaging.drawing import sheet
from medgym.imaging.study import ImageRef
from medgym.leaks.fingerprint import shown_image

SIDE = 220
COLUMNS = 3
MOST = 24


def pair_sheet(pairs: Sequence[tuple[str, ImageRef, ImageRef]]) -> Image.Image:
    """The first `MOST` pairs, each under its caption."""
    tiles = [(caption, [_drawn(first), _drawn(second)]) for caption, first, second in pairs[:MOST]]
    return sheet(tiles, COLUMNS)


def _drawn(ref: ImageRef) -> Image.Image:
    try:
        return shown_image(ref, SIDE)
    except UserError:
        return Image.new("RGB", (SIDE, SIDE), "grey")
