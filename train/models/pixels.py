"""Images as an image processor hands them to a model, one by one, so that they can be compared.

Trainers encode the images of a whole batch together. Where one of them took another's place, every
count is still right; only the pixel values tell.
"""

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

AT_ONCE = 64
"""Images that are encoded together."""

GREY_LEVEL = 4e-3
"""By which pixel values of the same image may differ: half of one of 256 levels, in the narrowest
of the scales that processors use."""


def encodings(image_processor: Any, pictures: Mapping[str, Image.Image]) -> dict[str, torch.Tensor]:
    """The pixel values of each image by its name, as the model is given them."""
    found: list[torch.Tensor] = []
    images = list(pictures.values())
    for start in range(0, len(images), AT_ONCE):
        chunk = images[start : start + AT_ONCE]
        made = image_processor(images=chunk, return_tensors="pt")
        values = made["pixel_values"]
        if "image_grid_thw" in made:
            found += values.split(made["image_grid_thw"].prod(dim=-1).tolist())
        elif len(values) == len(chunk):
            found += values.split(1)
        else:  # each image becomes tiles, whose number is its own
            each = (image_processor(images=[one], return_tensors="pt") for one in chunk)
            found += [one["pixel_values"] for one in each]
    return dict(zip(pictures, found, strict=True))


def alike(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether two encodings are the same, up to the precision of what the model is given.

    Some processors pad an image to the largest one that they are given with it.
    """
    if given.dim() != wanted.dim() or len(given) != len(wanted):
        return False
    cut = tuple(slice(min(a, b)) for a, b in zip(given.shape, wanted.shape, strict=True))
    wanted = wanted[cut].to(given.device, given.dtype)
    return torch.allclose(given[cut].float(), wanted.float(), rtol=0.0, atol=GREY_LEVEL)
