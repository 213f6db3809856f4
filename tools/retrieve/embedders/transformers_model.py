"""What the embedders over models of transformers share: loading from a folder, and running."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from medgym.errors import UserError, missing_library
from medgym.failures import reason_of

from .embedder import Embedder, Vectors, of_unit_length

SMALLEST, LONGEST = 32, 4
"""Pixels of the shorter side, and how many times as long the longer one may be."""


class TransformersEmbedder(Embedder):
    """An embedder over the model in a folder. It is loaded when it is first needed, from the disk
    alone, and on a GPU where there is one.

    Args:
        folder: of the model.
    """

    needs_model: ClassVar[bool] = True
    images_alone: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: tuple[Any, Any] | None = None
        self._loading = threading.Lock()
        self._dims = 0

    @property
    def loaded(self) -> tuple[Any, Any]:
        """The model and its processor. `UserError` where they cannot be loaded."""
        with self._loading:
            if self._found is None:
                self._found = self._load()
            return self._found

    @property
    def dims(self) -> int:
        """See `Embedder.dims`."""
        if not self._dims:
            probe = self.embed_images([_blank()]) if self.images else self.embed_texts(["x"])
            self._dims = probe.shape[1]
        return self._dims

    def _check(self, model: Any) -> None:
        """`UserError` where this is no model of the right kind."""

    def _load(self) -> tuple[Any, Any]:
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModel, AutoProcessor
        except ModuleNotFoundError as error:
            raise missing_library(error) from error
        kind: Any = AutoImageProcessor if self.images_alone else AutoProcessor
        try:
            model = AutoModel.from_pretrained(
                self.folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
            processor = kind.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            raise UserError(
                f"cannot load the model {self.folder} ({reason_of(error)}); fix: name a folder "
                "that transformers reads without code of its own"
            ) from error
        self._check(model)
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), processor

    def run(self, features: Callable[[Any], Any], inputs: Any) -> Vectors:
        """Features of inputs as vectors of length 1."""
        import torch

        model, _ = self.loaded
        with torch.inference_mode():
            made = features(inputs.to(model.device))
        made = getattr(made, "pooler_output", made)
        return of_unit_length(made.float().cpu().numpy().astype(np.float32))


def fitted(image: Image.Image) -> Image.Image:
    """An image that any processor takes: RGB, not tiny, no side many times the other."""
    width, height = image.size
    least = max(SMALLEST, max(width, height) // LONGEST)
    size = max(width, least), max(height, least)
    return image.convert("RGB") if size == image.size else image.convert("RGB").resize(size)


def _blank() -> Image.Image:
    return Image.new("RGB", (SMALLEST, SMALLEST))
