"""Searches an index: several rankings of its documents, fused by their ranks.

A query has a text, an image, or both; of a follow-up two images. Each signal (BM25, and the vectors
of each embedder) ranks the documents of the parts that are searched. Reciprocal rank fusion
(Cormack et al. 2009) adds 1 / (60 + rank) over the rankings. What the guard withholds is passed by,
and ranks stay as they are.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from medgym.errors import UserError

from ..embedders.embedder import Embedder
from ..embedders.named import embedder_of, state_of
from .manifest import Manifest, Space, check_files, read_manifest
from .part import IndexPart, StoredDocument
from .vectors import Floats

FUSION = 60
POOL = 64
"""Documents of each ranking that are looked at first; more where the guard withholds many."""

Place = tuple[int, int]
"""The number of a part, and a place in it."""

Allowed = Callable[[StoredDocument], bool]


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        text: words; "" for none.
        image: a picture; None for none.
        prior: with `image`: the earlier one of a follow-up. Then only pairs are found by images.
        modalities: of the case that is played; empty where they are not known.
    """

    text: str = ""
    image: Image.Image | None = None
    prior: Image.Image | None = None
    modalities: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Match:
    """A document that was found.

    Attributes:
        score: by reciprocal rank fusion.
        ratio: its score in parts of the best one that the guard allows, in the ranking in which it
            comes closest; 1 for the best.
    """

    document: StoredDocument
    score: float
    ratio: float


@dataclass(frozen=True)
class Ranking:
    """The documents by one signal, best first."""

    signal: str
    hits: tuple[tuple[Place, float], ...]


class SearchIndex:
    """An index, opened. Threads may share it. Models are loaded at the first query.

    Args:
        folder: as `medgym index build` wrote it.

    Raises:
        UserError: there is no index, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        try:
            check_files(folder, self.manifest)
            self.parts = [IndexPart(folder, e, self.manifest.spaces) for e in self.manifest.parts]
        except (OSError, ValueError) as error:
            raise UserError(
                f"the index {folder} is damaged ({error}); fix: build it again by medgym index "
                f"build ... --out {folder}"
            ) from error
        self._embedders: dict[str, Embedder] = {}
        self._loading = threading.Lock()

    def find(self, query: Query, count: int, allowed: Allowed) -> list[Match]:
        """The best documents that the guard allows, at most so many."""
        parts = self.searched(query.modalities)
        entries = [self.manifest.parts[part] for part in parts]
        total = sum(entry.documents + entry.images for entry in entries)
        verdicts: dict[Place, bool] = {}

        def may(place: Place) -> bool:
            if place not in verdicts:
                verdicts[place] = allowed(self.parts[place[0]].document(place[1]))
            return verdicts[place]

        pool = max(POOL, count)
        while True:
            rankings = list(self.rankings(query, parts, pool))
            allowed_ones = (each for each in fused(rankings) if may(each[0]))
            found = list(itertools.islice(allowed_ones, count))
            if len(found) == count or pool >= total:
                break
            pool *= 8
        best = {r.signal: next((s for place, s in r.hits if may(place)), 0.0) for r in rankings}
        scores = [dict(r.hits) for r in rankings]

        def ratio(place: Place) -> float:
            return max(
                own[place] / best[r.signal] if place in own and best[r.signal] > 0 else 0.0
                for r, own in zip(rankings, scores, strict=True)
            )

        return [
            Match(self.parts[place[0]].document(place[1]), score, min(ratio(place), 1.0))
            for place, score in found
        ]

    def searched(self, modalities: frozenset[str]) -> list[int]:
        """The parts that are searched: those of the modalities, and that of documents without one;
        all parts where no modality is known, or none has a part."""
        own = [n for n, e in enumerate(self.manifest.parts) if e.modality in modalities]
        if not own:
            return list(range(len(self.parts)))
        return own + [n for n, e in enumerate(self.manifest.parts) if e.modality is None]

    def rankings(self, query: Query, parts: Sequence[int], pool: int) -> Iterator[Ranking]:
        """The rankings by each signal that the query has."""
        if query.text:
            hits = (
                (n, list(itertools.islice(self.parts[n].words.ranked(query.text), pool)))
                for n in parts
            )
            yield _merged("words", hits, pool)
        for space in self.manifest.spaces:
            embedder = self._embedder(space)
            vectors: list[Floats] = []
            if query.text and space.texts:
                vectors.append(embedder.embed_texts([query.text])[0])
            if query.image is not None and space.images:
                if query.prior is not None:
                    yield self._pairs(space, embedder, query.prior, query.image, parts, pool)
                    continue
                vectors.append(embedder.embed_images([query.image])[0])
            for number, vector in enumerate(vectors):
                # A text and an image of a query are two signals.
                for of in ("texts", "images"):
                    if getattr(space, of):
                        hits = (
                            (n, getattr(self.parts[n], f"nearest_{of}")(space.name, vector, pool))
                            for n in parts
                        )
                        yield _merged(f"{space.name} {number} {of}", hits, pool)

    def _pairs(
        self,
        space: Space,
        embedder: Embedder,
        prior: Image.Image,
        current: Image.Image,
        parts: Sequence[int],
        pool: int,
    ) -> Ranking:
        # One by one, so that a vector does not depend on the image beside it.
        one, other = (embedder.embed_images([each])[0] for each in (prior, current))
        hits = ((n, self.parts[n].nearest_pairs(space.name, one, other, pool)) for n in parts)
        return _merged(f"{space.name} pairs", hits, pool)

    def _embedder(self, space: Space) -> Embedder:
        with self._loading:
            made = self._embedders.get(space.name)
            if made is None:
                made = embedder_of(space.spec)
                if made.version != space.version or state_of(space.spec) != space.state:
                    raise UserError(
                        f"the index {self.folder} was built by another version of the embedder "
                        f"{space.spec}; fix: build it again"
                    )
                if space.fitted is not None:
                    made.load(self.folder / space.fitted)
                self._embedders[space.name] = made
            return made


def fused(rankings: Sequence[Ranking]) -> list[tuple[Place, float]]:
    """The documents of all rankings by reciprocal rank fusion, best first; ties by their place."""
    scores: dict[Place, float] = {}
    for ranking in rankings:
        for rank, (place, _) in enumerate(ranking.hits, start=1):
            scores[place] = scores.get(place, 0.0) + 1 / (FUSION + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def _merged(
    signal: str, hits: Iterable[tuple[int, Sequence[tuple[int, float]]]], pool: int
) -> Ranking:
    """The hits of several parts as one ranking, by score; ties by their place."""
    whole = [((part, place), score) for part, found in hits for place, score in found]
    whole.sort(key=lambda hit: (-hit[1], hit[0]))
    return Ranking(signal, tuple(whole[:pool]))


_OPENED: dict[tuple[str, str], SearchIndex] = {}
_opening = threading.Lock()


def open_index(folder: Path) -> SearchIndex:
    """An index, opened once for each process, as long as it is the same one.

    Raises:
        UserError: there is no index, or it is damaged.
    """
    manifest = read_manifest(folder)
    key = str(folder.absolute()), manifest.model_dump_json()
    with _opening:
        if key not in _OPENED:
            _OPENED[key] = SearchIndex(folder)
        return _OPENED[key]


def kept(found: Sequence[Match], gamma: float) -> list[Match]:
    """The first of what was found, up to the first whose ratio is below `gamma`."""
    chosen: list[Match] = []
    for each in found:
        if each.ratio < gamma:
            break
        chosen.append(each)
    return chosen
