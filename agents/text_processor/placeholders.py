"""How many placeholders an image takes, from its size and the settings of its image processor."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import NeedsTransformers, number, read_object

PROCESSORS = {"Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor"}
IMAGE_PROCESSORS = {"Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"}
"""The families whose counts are known here: of Qwen2-VL to Qwen3.5, and models made from them."""

LONGEST = 200
"""How many times longer than the other a side of an image may be."""


@dataclass(frozen=True)
class Placeholders:
    """The counts of a Qwen-VL image processor.

    Attributes:
        side: pixels of the square that one placeholder stands for.
        least, most: pixels of an image once it is resized.
    """

    side: int
    least: int
    most: int

    def count(self, width: int, height: int) -> int:
        """The number of placeholders of an image.

        Raises:
            ValueError: one side is far longer than the other.
        """
        if max(width, height) > LONGEST * min(width, height):
            raise ValueError(f"an image of {width} x {height} pixels is too narrow for this model")
        rows, columns = round(height / self.side), round(width / self.side)
        area = rows * columns * self.side**2
        if area > self.most:
            shrink = math.sqrt(height * width / self.most)
            rows = max(1, math.floor(height / shrink / self.side))
            columns = max(1, math.floor(width / shrink / self.side))
        elif area < self.least:
            grow = math.sqrt(self.least / (height * width))
            rows = math.ceil(height * grow / self.side)
            columns = math.ceil(width * grow / self.side)
        return rows * columns


def read_placeholders(folder: Path) -> Placeholders:
    """The counts of the model of a folder.

    Raises:
        NeedsTransformers: its family is another one, or its settings say more than is known here.
    """
    whole = read_object(folder / "processor_config.json")
    settings = whole.get("image_processor") or read_object(folder / "preprocessor_config.json")
    kinds = [each.get("processor_class") for each in (whole, settings)]
    kind = next((each for each in kinds if each), None)
    if kind is None:
        kind = read_object(folder / "tokenizer_config.json").get("processor_class")
    if kind not in PROCESSORS or settings.get("image_processor_type") not in IMAGE_PROCESSORS:
        raise NeedsTransformers(f"its processor is a {str(kind)[:60]}")
    if "auto_map" in whole or "auto_map" in settings or settings.get("do_resize") is False:
        raise NeedsTransformers("its processor has code of its own, or does not resize images")
    side = number(settings, "patch_size") * number(settings, "merge_size")
    return Placeholders(side, *_bounds(settings))


def _bounds(settings: dict[str, Any]) -> tuple[int, int]:
    """The fewest and the most pixels of an image; the older names come first."""
    size = settings.get("size")
    if not isinstance(size, dict):
        size = {}
    older = {
        "shortest_edge": settings.get("min_pixels"),
        "longest_edge": settings.get("max_pixels"),
    }
    size = size | {name: value for name, value in older.items() if value is not None}
    return number(size, "shortest_edge"), number(size, "longest_edge")
