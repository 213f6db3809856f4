"""View sizes that fit a model's image processor, so that no view is resampled twice.

A view is drawn once, from the original pixels. Most image processors resize what they are given:
Qwen's rounds each side to a multiple of 28 or 32 pixels, and keeps the number of pixels between two
bounds. What it resizes again is blurred, and its pixels are no longer those that were measured.
"""

import math
from typing import Any

from PIL import Image

from medgym.episode import DEFAULT_VIEW_SIZE

Size = tuple[int, int]


def arrives(processor: Any, size: Size) -> Size | None:
    """The (width, height) with which an image of some size reaches the model, found by trying.

    None where the processor does not say, as where it cuts images into tiles.

    Args:
        processor: a model's processor, or its image processor.
    """
    made = _images(processor)(images=[Image.new("RGB", size)], return_tensors="np")
    if "image_grid_thw" in made:
        _, down, across = (int(each) for each in made["image_grid_thw"][0])
        patch = int(_images(processor).patch_size)
        return patch * across, patch * down
    pixels = made.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or len(pixels) != 1:
        return None
    return int(pixels.shape[3]), int(pixels.shape[2])


def view_size_for(processor: Any, near: int = DEFAULT_VIEW_SIZE) -> int:
    """The view size next to another at which a square view reaches the model as it was drawn.

    It is what the processor itself makes of a square of that size. Of a view that is not square,
    the shorter side is rounded as well, unless views are drawn with
    `view_multiple=view_multiple_for(processor)`.

    Args:
        processor: a model's processor, or its image processor. One that does not say what it does
            gives back `near`.
        near: the view size that is wanted.
    """
    found = arrives(processor, (near, near))
    return near if found is None else max(found)


def view_multiple_for(processor: Any) -> int:
    """The `view_multiple` with which views reach the model as they were drawn, whatever their
    aspect: what each side of an image is a multiple of there; 1 where it is not said.

    Args:
        processor: a model's processor, or its image processor.
    """
    images = _images(processor)
    sizes = (getattr(images, name, None) for name in ("patch_size", "merge_size"))
    return math.prod(size if isinstance(size, int) else 1 for size in sizes)


def _images(processor: Any) -> Any:
    return getattr(processor, "image_processor", processor)
