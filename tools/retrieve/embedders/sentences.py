"""Texts by a sentence model: any folder that the library sentence-transformers reads."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medgym.errors import UserError, missing_library
from medgym.failures import reason_of

from .embedder import Embedder, Vectors, of_unit_length


class Sentences(Embedder):
    """The sentence embeddings of a model.

    Args:
        folder: of the model.
    """

    name: ClassVar[str] = "sentence-transformers"
    texts: ClassVar[bool] = True
    needs_model: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._model: Any = None
        self._loading = threading.Lock()

    @property
    def dims(self) -> int:
        """See `Embedder.dims`."""
        return int(self.embed_texts(["x"]).shape[1])

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed_texts`."""
        made = self._loaded().encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return of_unit_length(np.asarray(made, np.float32))

    def _loaded(self) -> Any:
        with self._loading:
            if self._model is None:
                try:
                    from sentence_transformers import SentenceTransformer
                except ModuleNotFoundError as error:
                    raise missing_library(error) from error
                try:
                    self._model = SentenceTransformer(
                        str(self.folder), local_files_only=True, trust_remote_code=False
                    )
                except Exception as error:
                    raise UserError(
                        f"cannot load the model {self.folder} ({reason_of(error)}); fix: name a "
                        "folder that sentence-transformers reads"
                    ) from error
            return self._model
