"""One part of an index: documents, their vectors, and the fingerprints of their images.

documents.jsonl, offsets.npy    a line for each document, and where it begins
words/                          BM25
texts-SPACE.f32                 a vector for each document
images-SPACE.f32, owners.npy    a vector for each image, and the document that it is of
pairs.npy                       documents of two dates: (document, prior image, current one)
thumbs.u8, codes.u64            the fingerprints of the images: one each, of a series several
"""

import json
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.leaks.fingerprint import SIDE, WINDOWS, Fingerprint

from ..bm25 import Bm25
from .manifest import PartEntry, Space
from .vectors import Floats, Places, VectorFile, top

WORDS = 6
"""Words of a code of a fingerprint."""


class StoredDocument:
    """A document of an index, as the guard asks about it. See `guard.Guarded`."""

    def __init__(self, part: "IndexPart", place: int, row: Mapping[str, Any]) -> None:
        self._part = part
        self.place = place
        self.id: str = row["id"]
        self.text: str = row["text"]
        self.group: str | None = row["group"]
        self.split: str | None = row["split"]
        self.answers: tuple[str, ...] = tuple(row["answers"])
        self.locations: tuple[str, ...] = tuple(row["locations"])
        self._prints: Sequence[Mapping[str, Any]] = row["prints"]

    @property
    def prints(self) -> tuple[Fingerprint, ...]:
        """The fingerprints of its images."""
        return tuple(self._part.fingerprint(each) for each in self._prints)


class IndexPart:
    """One part, opened. What is large is mapped, not read. Threads may share it."""

    def __init__(self, root: Path, entry: PartEntry, spaces: Sequence[Space]) -> None:
        self.entry = entry
        folder = self._folder = root / entry.folder
        self._offsets = np.load(folder / "offsets.npy")
        self._stream = (folder / "documents.jsonl").open("rb")
        self._reading = threading.Lock()
        self.texts = {s.name: self._vectors("texts", s) for s in spaces if s.texts}
        self.images = {s.name: self._vectors("images", s) for s in spaces if s.images}
        self.owners: Places = np.load(folder / "owners.npy")
        self._pairs: Places = np.load(folder / "pairs.npy")
        self._thumbs = _mapped(folder / "thumbs.u8", np.uint8, (SIDE, SIDE))
        self._codes = _mapped(folder / "codes.u64", np.uint64, (len(WINDOWS), WORDS))

    def _vectors(self, of: str, space: Space) -> VectorFile:
        key = f"{of}-{space.name}"
        graph = self._folder / f"{key}.usearch" if key in self.entry.graphs else None
        return VectorFile(self._folder / f"{key}.f32", space.dims, graph)

    @cached_property
    def words(self) -> Bm25:
        """BM25 over the texts."""
        return Bm25.load(self._folder / "words")

    def document(self, place: int) -> StoredDocument:
        """The document at a place."""
        with self._reading:
            self._stream.seek(int(self._offsets[place]))
            line = self._stream.readline()
        return StoredDocument(self, place, json.loads(line))

    def fingerprint(self, named: Mapping[str, Any]) -> Fingerprint:
        """A fingerprint, as a document names it."""
        row = named["row"]
        return Fingerprint(
            named["sha256"], np.array(self._thumbs[row]), np.array(self._codes[row]),
            tuple(named["size"]),
        )  # fmt: skip

    def nearest_texts(self, space: str, query: Floats, count: int) -> list[tuple[int, float]]:
        """Documents by their texts, with their cosines, best first."""
        places, scores = self.texts[space].nearest(query, count)
        return list(zip(places.tolist(), scores.tolist(), strict=True))

    def nearest_images(self, space: str, query: Floats, count: int) -> list[tuple[int, float]]:
        """Documents by the nearest of their images, with its cosine, best first."""
        places, scores = self.images[space].nearest(query, count)
        best: dict[int, float] = {}
        for owner, score in zip(self.owners[places].tolist(), scores.tolist(), strict=True):
            best.setdefault(owner, score)
        return list(best.items())

    def nearest_pairs(
        self, space: str, prior: Floats, current: Floats, count: int
    ) -> list[tuple[int, float]]:
        """Documents of a prior and a current image by the mean of both cosines, best first."""
        if not len(self._pairs):
            return []
        rows = self.images[space].rows
        both: Floats = rows[self._pairs[:, 1]] @ prior + rows[self._pairs[:, 2]] @ current
        scores = both / np.float32(2)
        places, best = top(scores, count)
        return list(zip(self._pairs[places, 0].tolist(), best.tolist(), strict=True))


def _mapped(path: Path, kind: Any, shape: tuple[int, int]) -> NDArray[Any]:
    if not path.stat().st_size:
        return np.empty((0, *shape), kind)
    return np.memmap(path, kind, "r").reshape(-1, *shape)
