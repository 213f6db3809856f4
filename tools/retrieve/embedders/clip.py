"""Images and texts in one space: any model of transformers with text and image features.

CLIP, SigLIP and models of their form: MedSigLIP, and BiomedCLIP or ConceptCLIP where their weights
are in a folder that transformers itself reads. A folder that brings Python code is refused.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from PIL import Image

from medgym.errors import UserError

from .embedder import Vectors
from .transformers_model import TransformersEmbedder, fitted


class ClipEmbedder(TransformersEmbedder):
    """The projected features of texts and images."""

    name: ClassVar[str] = "clip"
    texts: ClassVar[bool] = True
    images: ClassVar[bool] = True

    def _check(self, model: Any) -> None:
        if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
            raise UserError(
                f"the model {self.folder} ({type(model).__name__}) has no features of texts and "
                "images in one space; fix: name one like CLIP, or write dino:DIR for images only"
            )

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed_texts`."""
        model, processor = self.loaded
        tokenizer = getattr(processor, "tokenizer", processor)
        # SigLIP was trained with texts that fill the whole length.
        fills = "siglip" in str(model.config.model_type)
        inputs = tokenizer(
            list(texts), padding="max_length" if fills else True, truncation=True,
            max_length=_longest(model, tokenizer), return_tensors="pt",
        )  # fmt: skip
        return self.run(lambda given: model.get_text_features(**given), inputs)

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """See `Embedder.embed_images`."""
        model, processor = self.loaded
        inputs = getattr(processor, "image_processor", processor)(
            images=[fitted(image) for image in images], return_tensors="pt"
        )
        return self.run(lambda given: model.get_image_features(**given), inputs)


def _longest(model: Any, tokenizer: Any) -> int:
    """The tokens that the text model has places for."""
    text = getattr(model.config, "text_config", model.config)
    places = int(getattr(text, "max_position_embeddings", 0) or 77)
    return min(places, int(tokenizer.model_max_length))
