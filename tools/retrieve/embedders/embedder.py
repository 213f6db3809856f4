"""What an embedder is: it turns texts or images into vectors of length 1, of which alike ones are
near each other."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Vectors = NDArray[np.float32]


class Embedder(ABC):
    """One way to make vectors: of texts, of images, or of both in one space.

    Attributes:
        name: by which `medgym index build --embedder` names it.
        version: goes up when it makes other vectors of the same input.
        texts, images: what it takes. With both, a text and an image that belong together are near
            each other.
        needs_model: whether it is named with the folder of a model, as `clip:DIR`.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    texts: ClassVar[bool] = False
    images: ClassVar[bool] = False
    needs_model: ClassVar[bool] = False

    @property
    @abstractmethod
    def dims(self) -> int:
        """The length of its vectors; known once it is fitted."""

    def fit(self, texts: Sequence[str]) -> None:  # noqa: B027 - most have nothing to fit
        """Adapt to texts of the corpus, before any text is embedded."""

    def save(self, folder: Path) -> None:  # noqa: B027
        """Write what `fit` found into a folder that exists."""

    def load(self, folder: Path) -> None:  # noqa: B027
        """Read what `save` wrote."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, (n, dims)."""
        raise NotImplementedError

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """The vectors of RGB images, (n, dims)."""
        raise NotImplementedError


def of_unit_length(vectors: NDArray[np.floating]) -> Vectors:
    """Each row divided by its length; one without length stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
