"""What a policy was shown, as PNG: on its way to a server, and in the folder of a run.

An X-ray, a slice or a scan of grey values is written as grey values: half the time and half the
bytes for the writer and for every reader. Opened as RGB, it has the same pixels again.
"""

import io
from pathlib import Path

from PIL import Image, ImageChops

from medgym.imaging.lazy_image import image_hash


def png_bytes(image: Image.Image) -> bytes:
    """An image as PNG, made fast rather than small."""
    buffer = io.BytesIO()
    (_grey(image) or image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _grey(image: Image.Image) -> Image.Image | None:
    """The grey values of an RGB image that has nothing else."""
    if image.mode != "RGB":
        return None
    red, green, blue = image.split()
    for other in (green, blue):
        if ImageChops.difference(red, other).getbbox() is not None:
            return None
    return red


def png_image(file: Path | bytes, sha256: str) -> Image.Image:
    """The image of a hash (see `image_hash`), from the PNG that `png_bytes` has made of it.

    Raises:
        ValueError: it holds other pixels.
        Exception: it cannot be read; as in `medgym.imaging.study`, decoders raise what they like.
    """
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        image.load()
    if image_hash(image) == sha256:
        return image
    if image.mode == "L" and image_hash(shown := image.convert("RGB")) == sha256:
        return shown
    raise ValueError("other pixels than those of its name")
