"""A picture that is drawn when its pixels are needed, and freed when they are no longer used.

Hundreds of concurrent episodes show thousands of views, whose pixels would fill the memory of any
machine. A view is only a few numbers and a study that is in memory anyway. So a `Picture` keeps the
function that draws it, and only a weak reference to its pixels.
"""

import hashlib
import weakref
from collections.abc import Callable
from threading import Lock

from PIL import Image

from medgym.failures import ContractError

STRIP = 64
"""How many rows of pixels are hashed at a time."""


class Picture:
    """A picture of a known size.

    Args:
        size: (width, height).
        draw: makes the pixels, the same ones each time.
        mode: the mode of the pixels, in Pillow's terms.
        reads: how many pixels of a study that takes, such as those under a view.

    Attributes:
        png: the pixels as a PNG file, once something has needed one: a policy that sends it, and a
            store that keeps it, need it encoded only once.
    """

    def __init__(
        self,
        size: tuple[int, int],
        draw: Callable[[], Image.Image],
        mode: str = "RGB",
        *,
        reads: float = 0.0,
    ) -> None:
        self.size = size
        self.mode = mode
        self.reads = reads
        self._draw = draw
        self._seen: weakref.ref[Image.Image] | None = None
        self._sha256: str | None = None
        self._hashing = Lock()
        self._drawing = Lock()
        self.png: bytes | None = None

    @classmethod
    def of(cls, image: "Image.Image | Picture") -> "Picture":
        """A picture of given pixels, which it keeps because nothing can draw them again."""
        if isinstance(image, Picture):
            return image
        return cls(image.size, lambda: image, image.mode)

    @property
    def image(self) -> Image.Image:
        """The pixels."""
        with self._drawing:  # of several threads that need it at once, one draws
            image = self._seen() if self._seen is not None else None
            if image is None:
                image = self._draw()
                if (image.size, image.mode) != (self.size, self.mode):
                    raise ContractError(
                        f"a view that is {self.size}, {self.mode} was drawn as {image.size}, "
                        f"{image.mode}"
                    )
                self._seen = weakref.ref(image)
            return image

    @property
    def own_image(self) -> Image.Image:
        """The pixels for a caller that may draw on them: Pillow copies them when it does.

        The image itself is shared, by all members of a group.
        """
        shared = self.image
        shared.load()
        own = shared._new(shared.im)
        own.readonly = 1  # so that Pillow copies before it writes
        vars(own)["shares"] = shared  # which stays in memory as long as this does
        return own

    @property
    def is_hashed(self) -> bool:
        """Whether `sha256` is known, so that nothing has to be drawn for it."""
        return self._sha256 is not None

    @property
    def sha256(self) -> str:
        """The hash of the pixels, as the image store names them."""
        # The members of a group ask at the same time: one of them draws, the others wait for it.
        with self._hashing:
            if self._sha256 is None:
                self._sha256 = image_hash(self.image)
            return self._sha256

    def __reduce__(self) -> tuple[Callable[[Image.Image], "Picture"], tuple[Image.Image]]:
        # To another process goes the picture, and not the study from which it is drawn.
        return Picture.of, (self.image,)


def image_hash(image: Image.Image) -> str:
    """sha256 over mode, size and pixels (hex), whatever file format they come from."""
    digest = hashlib.sha256(f"{image.mode}:{image.width}x{image.height}:".encode())
    for top in range(
        0, image.height, STRIP
    ):  # in strips, because a copy of the whole would double the memory
        bottom = min(top + STRIP, image.height)
        whole = bottom - top == image.height
        strip = image if whole else image.crop((0, top, image.width, bottom))
        digest.update(strip.tobytes())
    return digest.hexdigest()
