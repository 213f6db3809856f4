"""Vectors of length 1 in a file, and the nearest of them to a query.

Up to `EXACT` of them all are compared. Above that a graph of usearch finds candidates, and their
scores are exact.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import missing_library

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

EXACT = 50_000
"""Vectors up to which all are compared."""

PROBES = 200
"""Vectors that a graph is tried with against an exact search."""

_CANDIDATES = 4
_CONNECTIVITY, _BUILT_WITH, _SEARCHED_WITH = 32, 256, 256


class VectorFile:
    """The vectors of one file.

    Args:
        path: of the file: float32, rows one after the other.
        dims: the length of a row.
        graph: the file of the graph, where there is one.
    """

    def __init__(self, path: Path, dims: int, graph: Path | None = None) -> None:
        size = path.stat().st_size
        self.rows: Floats = (
            np.memmap(path, np.float32, "r").reshape(-1, dims)
            if size
            else np.empty((0, dims), np.float32)
        )
        self._graph = None if graph is None else _opened(graph, dims)

    def nearest(self, query: Floats, count: int) -> tuple[Places, Floats]:
        """The places of the `count` nearest and their cosines, best first; ties by their place."""
        graph = self._graph
        if graph is None or _CANDIDATES * count > len(self.rows) // 4:
            return top(self.rows @ query, count)
        found = np.sort(graph.search(query, _CANDIDATES * count).keys.astype(np.intp))
        places, scores = top(self.rows[found] @ query, count)
        return found[places], scores


def top(scores: Floats, count: int) -> tuple[Places, Floats]:
    """The places of the greatest scores and these, best first; ties by their place."""
    if count < len(scores):
        least = np.partition(scores, -count)[-count]
        chosen = np.flatnonzero(scores >= least)
    else:
        chosen = np.arange(len(scores))
    order = chosen[np.argsort(-scores[chosen], kind="stable")][:count]
    return order, scores[order]


def write_graph(vectors: Path, dims: int, path: Path) -> float:
    """Write the graph of the vectors in a file; the share of the ten nearest that it finds."""
    plain = VectorFile(vectors, dims)
    graph = _empty(dims)
    graph.add(np.arange(len(plain.rows), dtype=np.uint64), np.asarray(plain.rows))
    graph.save(str(path))
    searched = VectorFile(vectors, dims, path)
    chosen = np.random.default_rng(0).integers(0, len(plain.rows), PROBES)
    hits = sum(
        len(np.intersect1d(plain.nearest(each, 10)[0], searched.nearest(each, 10)[0]))
        for each in plain.rows[chosen]
    )
    return hits / (10 * PROBES)


def _empty(dims: int) -> Any:
    try:
        from usearch.index import Index
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    return Index(
        ndim=dims, metric="ip", dtype="f32", connectivity=_CONNECTIVITY,
        expansion_add=_BUILT_WITH, expansion_search=_SEARCHED_WITH,
    )  # fmt: skip


def _opened(path: Path, dims: int) -> Any:
    graph = _empty(dims)
    graph.view(str(path))
    return graph
