"""A picture that is drawn when somebody looks at it and forgotten when nobody holds it.

Hundreds of episodes in flight show thousands of views; held as pixels they fill the memory of any
machine. A view of an image is a few numbers and a study that is there anyway, so a `Picture` keeps
how to draw it, and its pixels only as long as somebody else does.
"""

import hashlib
import weakref
from collections.abc import Callable
from threading import Lock

from PIL import Image

STRIP = 64
"""Rows of pixels that are hashed at once."""


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
        self._sha256: str | None = None
        self._hashing = Lock()

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

    @property
    def is_hashed(self) -> bool:
        """Whether `sha256` is there without drawing anything."""
        return self._sha256 is not None

    @property
    def sha256(self) -> str:
        """The hash of the pixels, as the image store names them."""
        # The members of a group ask at once; one draws, and other pictures wait for nobody.
        with self._hashing:
            if self._sha256 is None:
                self._sha256 = image_hash(self.image)
            return self._sha256

    def __reduce__(self) -> tuple[Callable[[Image.Image], "Picture"], tuple[Image.Image]]:
        # What travels to another process is the picture, not the study that it is drawn from.
        return Picture.of, (self.image,)


def image_hash(image: Image.Image) -> str:
    """sha256 over mode, size and pixels (hex): the same for the same pixels, however encoded."""
    digest = hashlib.sha256(f"{image.mode}:{image.width}x{image.height}:".encode())
    for top in range(0, image.height, STRIP):  # a copy of the whole would be as large again
        bottom = min(top + STRIP, image.height)
        whole = bottom - top == image.height
        strip = image if whole else image.crop((0, top, image.width, bottom))
        digest.update(strip.tobytes())
    return digest.hexdigest()
