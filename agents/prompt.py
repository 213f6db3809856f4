"""What a sampler is given: token ids and images."""

from dataclasses import dataclass

from PIL import Image

from medgym.imaging.lazy_image import Picture
from medgym.policy import Sampling


@dataclass(frozen=True)
class Prompt:
    """What a sampler is given: all token ids, and the images that have placeholders among them.

    Attributes:
        ids: all tokens.
        pictures: the images; their pixels are made when they are first needed.
        image_tokens: the number of placeholders of each image.
        held: how many of `ids` the turn before this one held already, its reply included; 0 in a
            prompt that was rendered from the start.
        held_images: how many images are among those.
        tools: JSON of the schemas that the template offers, where it does.
    """

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    image_tokens: tuple[int, ...]
    held: int = 0
    held_images: int = 0
    tools: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The pixels of all images."""
        return tuple(picture.image for picture in self.pictures)

    def hashes(self, count: int | None = None) -> tuple[str, ...]:
        """The content hashes of the first `count` images, of all by default."""
        return tuple(picture.sha256 for picture in self.pictures[:count])

    def leaves_no_room(self, sampling: Sampling) -> bool:
        """Whether a reply of full length would exceed the greatest context."""
        limit = sampling.max_context
        return limit is not None and len(self.ids) + sampling.max_tokens > limit
