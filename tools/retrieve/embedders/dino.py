"""Images alone: any vision model of transformers, by its pooled output or its class token.

DINOv2 and DINOv3 and models of their form: RAD-DINO, DinoBloom.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from PIL import Image

from .embedder import Vectors
from .transformers_model import TransformersEmbedder, fitted


class Dino(TransformersEmbedder):
    """The pooled output of a vision model; where it has none, that of its class token."""

    name: ClassVar[str] = "dino"
    images: ClassVar[bool] = True
    images_alone: ClassVar[bool] = True

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """See `Embedder.embed_images`."""
        model, processor = self.loaded
        inputs = processor(images=[fitted(image) for image in images], return_tensors="pt")

        def features(given: Any) -> Any:
            out = model(**given)
            pooled = getattr(out, "pooler_output", None)
            return out.last_hidden_state[:, 0] if pooled is None else pooled

        return self.run(features, inputs)
