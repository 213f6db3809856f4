"""The gold regions of SLAKE: what `mask.png` marks, and the boxes of `detection.json`."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.files import read_text
from medgym.regions import Mask, Region
from medgym.sources.image_files import ImageFiles

_LINE = re.compile(r"\s*(?P<value>\d+)\s*:\s*(?P<label>\S.*?)\s*")
_SIDE = re.compile(r"^(?:left|right)\s+")
_KEPT = 64
"""Images whose regions are kept: the questions of one image stand one after another."""


class Masks:
    """The regions of images.

    Args:
        images: the folder or zip in which they are.
        names: `mask.txt`, which says what each grey value of a mask means.

    Raises:
        UserError: `mask.txt` has another form.
    """

    def __init__(self, images: ImageFiles, names: Path) -> None:
        self._images = images
        self._labels: dict[int, str] = {}
        for number, line in enumerate(read_text(names).split("\n"), start=1):
            match = _LINE.fullmatch(line)
            if match is not None:
                self._labels[int(match["value"])] = match["label"]
            elif line.strip():
                raise UserError(
                    f"line {number} of {names} is {line!r}, and not VALUE:NAME; fix: fetch it again"
                )
        self.of = lru_cache(_KEPT)(self._of)

    def _of(self, image: str) -> tuple[Region, ...]:
        """The regions of an image: those with a mask, then those with only a box."""
        masked = tuple(self._masked(image))
        known = {region.label.casefold() for region in masked}
        boxes = (box for box in self._boxes(image) if box.label.casefold() not in known)
        return (*masked, *boxes)

    def _masked(self, image: str) -> Iterable[Region]:
        grey = self._grey(image)
        if grey is None:
            return
        for value in np.unique(grey):
            label = self._labels.get(int(value))
            if label is not None:
                inside = grey == value
                yield Region(label=label, box_px=_box(inside), mask=Mask.of(inside))

    def _grey(self, image: str) -> NDArray[np.uint8] | None:
        from PIL import Image

        mask, source = self._read(image, "mask.png"), self._images.read(image)
        if mask is None or source is None:
            return None
        try:
            with Image.open(BytesIO(mask)) as opened, Image.open(BytesIO(source)) as shown:
                if opened.size != shown.size:
                    return None
                grey = np.asarray(opened if opened.mode in ("L", "P") else opened.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(
                f"cannot read the mask of {image} ({error}); fix: fetch imgs.zip again"
            ) from error
        return grey if grey.ndim == 2 else grey[..., 0]

    def _boxes(self, image: str) -> Iterable[Region]:
        data = self._read(image, "detection.json")
        try:
            listed: Any = json.loads(data) if data else []
            for entry in listed:
                for label, (x, y, width, height) in entry.items():
                    yield Region(label=label, box_px=(x, y, x + width, y + height))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"cannot read the boxes of {image} ({error}); fix: fetch imgs.zip again"
            ) from error

    def _read(self, image: str, name: str) -> bytes | None:
        return self._images.read(str(PurePosixPath(image).with_name(name)))


def named_regions(regions: Iterable[Region], text: str) -> tuple[Region, ...]:
    """Those of the regions that a text names, with or without their side."""
    folded = text.casefold()
    return tuple(region for region in regions if _SIDE.sub("", region.label.casefold()) in folded)


def _box(inside: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return (
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] + 1),
        float(rows[-1] + 1),
    )
