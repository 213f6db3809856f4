"""A picture that is drawn when somebody looks at it and forgotten when nobody holds it.

Hundreds of episodes in flight show thousands of views; held as pixels they fill the memory of any
machine. A view of an image is a few numbers and a study that is there anyway, so a `Picture` keeps
how to draw it, and its pixels only as long as somebody else does.
"""

import hashlib
import weakref
from collections.abc import Callable
from functools import cached_property

from PIL import Image


class Picture:
    """A picture of a known size.

    Args:
        size: (width, height).
        draw: makes the pixels; the same ones each time.
        mode: of the pixels, as Pillow names it.
    """

    def __init__(
        self, size: tuple[int, int], draw: Callable[[], Image.Image], mode: str = "RGB"
    ) -> None:
        self.size = size
        self.mode = mode
        self._draw = draw
        self._seen: weakref.ref[Image.Image] | None = None

    @classmethod
    def of(cls, image: "Image.Image | Picture") -> "Picture":
        """A picture of pixels that nothing can draw again: these are kept."""
        if isinstance(image, Picture):
            return image
        return cls(image.size, lambda: image, image.mode)

    @property
    def image(self) -> Image.Image:
        """The pixels."""
        image = self._seen() if self._seen is not None else None
        if image is None:
            image = self._draw()
            self._seen = weakref.ref(image)
        return image

    @cached_property
    def sha256(self) -> str:
        """The hash of the pixels, as the image store names them."""
        return image_hash(self.image)

    def __reduce__(self) -> tuple[Callable[[Image.Image], "Picture"], tuple[Image.Image]]:
        # What travels to another process is the picture, not the study that it is drawn from.
        return Picture.of, (self.image,)


def image_hash(image: Image.Image) -> str:
    """sha256 over mode, size and pixels (hex): the same for the same pixels, however encoded."""
    head = f"{image.mode}:{image.width}x{image.height}:".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()
