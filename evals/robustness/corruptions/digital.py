"""What storing does: fewer pixels, and JPEG."""

import io

import numpy as np
from PIL import Image

from .greys import Greys, shown
from .resizing import SIDE, coarse, spread


def pixelate(greys: Greys, strength: float, rng: np.random.Generator) -> Greys:
    """Means of blocks: as few pixels as this share of an image whose short side has 224."""
    side = min(*greys.shape[:2], SIDE) * strength
    return spread(coarse(greys, max(side, 1.0)), greys)


def jpeg(greys: Greys, strength: int, rng: np.random.Generator) -> Greys:
    """What JPEG of a quality leaves of the pixels that are shown, in 8 bits."""
    part = shown(greys)
    stream = io.BytesIO()
    Image.fromarray(np.rint(part * 255).astype(np.uint8)).save(stream, "JPEG", quality=strength)
    stream.seek(0)
    with Image.open(stream) as image:
        stored = np.asarray(image, np.float32) / 255
    return stored + (greys - part)
