"""One part of an index, as it is written: documents follow each other, vectors come in batches."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from medgym.imaging.study import ImageRef
from medgym.leaks.fingerprint import Fingerprint

from ..bm25 import Bm25
from ..embedders.embedder import Embedder
from .manifest import PartEntry
from .vectors import EXACT, write_graph

BATCH = 32


class PartWriter:
    """Writes one part into a new folder. See `part.py` for what is in it.

    Args:
        root: the folder of the index. folder: that of the part, in it.
        embedders: all of the index.
    """

    def __init__(
        self, root: Path, folder: str, modality: str | None, embedders: Sequence[Embedder]
    ) -> None:
        self._root, self.folder, self._modality = root, folder, modality
        self._path = root / folder
        self._path.mkdir(parents=True)
        self._embedders = embedders
        self._documents = self._open("documents.jsonl")
        self._thumbs, self._codes = self._open("thumbs.u8"), self._open("codes.u64")
        self._images = {e.name: self._open(f"images-{e.name}.f32") for e in embedders if e.images}
        self._prints = 0
        self._offsets: list[int] = []
        self._owners: list[int] = []
        self._pairs: list[tuple[int, int, int]] = []
        self._waiting: list[Image.Image] = []

    def _open(self, name: str) -> BinaryIO:
        return (self._path / name).open("wb")

    def add(
        self,
        row: dict[str, object],
        images: Sequence[tuple[ImageRef, Sequence[Fingerprint], Image.Image]],
    ) -> None:
        """Add a document.

        Args:
            row: what is kept of it, but for its images.
            images: each where it is, by its fingerprints, and as it is shown.
        """
        place, first = len(self._offsets), len(self._owners)
        kept = []
        for _, prints, picture in images:
            for made in prints:
                self._thumbs.write(made.thumb.tobytes())
                self._codes.write(made.codes.tobytes())
                kept.append({"row": self._prints, "sha256": made.sha256, "size": made.size})
                self._prints += 1
            self._owners.append(place)
            if self._images:
                self._waiting.append(picture)
        rows = {ref.role: first + number for number, (ref, _, _) in enumerate(images)}
        if len(images) == 2 and len(rows) == 2:
            self._pairs.append((place, rows["prior"], rows["current"]))
        self._offsets.append(self._documents.tell())
        self._documents.write(json.dumps(row | {"prints": kept}).encode() + b"\n")
        if len(self._waiting) >= BATCH:
            self._embed_waiting()

    def _embed_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for embedder in self._embedders:
            if waiting and embedder.images:
                self._images[embedder.name].write(embedder.embed_images(waiting).tobytes())

    def end_documents(self) -> None:
        """All documents were added."""
        self._embed_waiting()
        for stream in (self._documents, self._thumbs, self._codes, *self._images.values()):
            stream.close()
        np.save(self._path / "offsets.npy", np.array(self._offsets, np.int64))
        np.save(self._path / "owners.npy", np.array(self._owners, np.intp))
        np.save(self._path / "pairs.npy", np.array(self._pairs, np.intp).reshape(-1, 3))

    def texts(self) -> Iterator[str]:
        """The texts of the documents, read back."""
        with (self._path / "documents.jsonl").open("rb") as lines:
            for line in lines:
                yield json.loads(line)["text"]

    def finish(self) -> PartEntry:
        """Embed the texts, count their words, build graphs where there are many vectors."""
        for embedder in self._embedders:
            if embedder.texts:
                with self._open(f"texts-{embedder.name}.f32") as stream:
                    batch: list[str] = []
                    for text in self.texts():
                        batch.append(text)
                        if len(batch) == BATCH:
                            stream.write(embedder.embed_texts(batch).tobytes())
                            batch = []
                    if batch:
                        stream.write(embedder.embed_texts(batch).tobytes())
        Bm25.of(list(self.texts())).save(self._path / "words")
        graphs = {}
        for embedder in self._embedders:
            counts = {"texts": len(self._offsets), "images": len(self._owners)}
            for of, count in counts.items():
                if getattr(embedder, of) and count > EXACT:
                    key = f"{of}-{embedder.name}"
                    graphs[key] = write_graph(
                        self._path / f"{key}.f32", embedder.dims, self._path / f"{key}.usearch"
                    )
        return PartEntry(
            modality=self._modality, folder=self.folder, documents=len(self._offsets),
            images=len(self._owners), pairs=len(self._pairs), graphs=graphs,
        )  # fmt: skip
