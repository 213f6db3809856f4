"""The images of an inspect log: data URIs, up to a total."""

import base64
from dataclasses import dataclass, field

from PIL import Image

from medgym.png import png_bytes
from medgym.storage.trajectories import ImageStore

MOST_BYTES = 64 * 2**20
"""Of the images in one log. A log is read whole, and 64 MiB are some 700 views of 448 pixels."""


def data_uri(image: Image.Image) -> str:
    """An image as the text of a PNG."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode("ascii")


@dataclass
class LogImages:
    """Gives the images of a log as data URIs until they have taken `most` bytes.

    Attributes:
        store: the run's images. most: characters of data URIs in all.
        left_out: how many were left out for that. missing: how many the run does not have.
    """

    store: ImageStore
    most: int = MOST_BYTES
    left_out: int = 0
    missing: int = 0
    _taken: int = field(default=0)

    def uri(self, sha256: str) -> str | None:
        """The image of that hash; None where it is left out, or the run does not have it."""
        if not self.store.has(sha256):
            self.missing += 1
            return None
        if self._taken >= self.most:
            self.left_out += 1
            return None
        found = data_uri(self.store.get(sha256))
        self._taken += len(found)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the images that the log does not have."""
        found = []
        if self.left_out:
            found.append(
                f"{self.left_out} images are left out of the log, which holds up to "
                f"{self.most // 2**20} MiB of them; they are in {self.store.path}"
            )
        if self.missing:
            found.append(f"the run does not have {self.missing} of the images that were shown")
        return tuple(found)
