"""The default for texts: latent semantic analysis over character n-grams, fitted on the corpus.

It needs no download and knows no medicine: it finds texts that share parts of words, also where a
word is inflected or misspelt, and words that occur together in the corpus. A sentence model finds
what is said in other words.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .embedder import Embedder, Vectors, of_unit_length

SIZES = (3, 4, 5)
"""Characters of an n-gram. One does not reach over more than a space."""

BUCKETS = 2**14
"""N-grams are told apart by a hash with so many values."""

DIMS = 256
SAMPLE = 4_000
"""Texts that the fit looks at."""

EXTRA, ROUNDS = 16, 2
"""Of the randomised singular value decomposition (Halko et al. 2011)."""

_FACTOR = np.uint64(1_099_511_628_211)


class Characters(Embedder):
    """Hashed n-grams of characters, weighted by TF-IDF, projected on what varies in the corpus."""

    name: ClassVar[str] = "characters"
    texts: ClassVar[bool] = True

    def __init__(self) -> None:
        self._weights = np.ones(BUCKETS, np.float32)
        self._axes = np.zeros((BUCKETS, 0), np.float32)

    @property
    def dims(self) -> int:
        """See `Embedder.dims`."""
        return self._axes.shape[1]

    def fit(self, texts: Sequence[str]) -> None:
        """See `Embedder.fit`. Of many texts some are taken, evenly spread."""
        step = max(1, -(-len(texts) // SAMPLE))
        counts = _counts(texts[::step])
        present = np.bincount(counts.indices, minlength=BUCKETS)
        self._weights = (np.log((1 + counts.shape[0]) / (1 + present)) + 1).astype(np.float32)
        self._axes = _axes(self._weighted(counts))

    def save(self, folder: Path) -> None:
        """See `Embedder.save`."""
        np.save(folder / "weights.npy", self._weights)
        np.save(folder / "axes.npy", self._axes)

    def load(self, folder: Path) -> None:
        """See `Embedder.load`."""
        self._weights = np.load(folder / "weights.npy")
        self._axes = np.load(folder / "axes.npy")

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed_texts`."""
        return of_unit_length(self._weighted(_counts(texts)) @ self._axes)

    def _weighted(self, counts: Any) -> Any:
        """Sublinear counts times weights, each row of length 1."""
        import scipy.sparse

        made = counts.copy()
        made.data = (1 + np.log(made.data)) * self._weights[made.indices]
        lengths = np.sqrt(np.asarray(made.multiply(made).sum(axis=1)).reshape(-1))
        return scipy.sparse.diags_array(1 / np.maximum(lengths, 1e-12)).astype(np.float32) @ made


def _counts(texts: Sequence[str]) -> Any:
    """How often each text has each n-gram, (texts, BUCKETS), sparse."""
    import scipy.sparse

    indices, numbers, ends = [], [], [0]
    for text in texts:
        found, count = np.unique(_hashes(text), return_counts=True)
        indices.append(found)
        numbers.append(count)
        ends.append(ends[-1] + len(found))
    data = np.concatenate([*numbers, np.empty(0, np.intp)]).astype(np.float32)
    places = np.concatenate([*indices, np.empty(0, np.intp)])
    return scipy.sparse.csr_array((data, places, ends), shape=(len(texts), BUCKETS))


def _hashes(text: str) -> NDArray[np.intp]:
    plain = " " + " ".join(text.casefold().split()) + " "
    letters = np.frombuffer(plain.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    made = []
    with np.errstate(over="ignore"):
        for size in SIZES:
            count = len(letters) - size + 1
            if count < 1:
                continue
            value = np.full(count, size, np.uint64)
            spaces = np.zeros(count, np.intp)
            for place in range(size):
                part = letters[place : place + count]
                value = (value ^ part) * _FACTOR
                spaces += part == ord(" ")
            made.append((value >> np.uint64(40))[spaces <= 1] % np.uint64(BUCKETS))
    return np.concatenate([*made, np.empty(0, np.uint64)]).astype(np.intp)


def _axes(rows: Any) -> Vectors:
    """The directions in which rows vary most, (BUCKETS, dims)."""
    dims = max(1, min(DIMS, rows.shape[0]))
    if rows.shape[0] <= DIMS + EXTRA:
        small = rows.toarray()
    else:
        basis = rows @ np.random.default_rng(0).standard_normal((BUCKETS, dims + EXTRA), np.float32)
        for _ in range(ROUNDS):
            basis = rows @ (rows.T @ np.linalg.qr(basis)[0])
        small = (rows.T @ np.linalg.qr(basis)[0]).T
    strengths, turns = np.linalg.eigh(small @ small.T)
    order = np.argsort(-strengths, kind="stable")[:dims]
    lengths = np.sqrt(np.maximum(strengths[order], 1e-9))
    return np.ascontiguousarray(small.T @ turns[:, order] / lengths, dtype=np.float32)
