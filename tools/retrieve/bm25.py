"""BM25 over the words of documents, by bm25s."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORD = re.compile(r"[^\W_]+")


class Bm25:
    """Scores texts by the words that they share with a query. Threads may share it."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Bm25":
        """Build it over these texts."""
        import bm25s

        scorer = bm25s.BM25()
        scorer.index([words(text) or [""] for text in texts], show_progress=False)
        return cls(scorer)

    @classmethod
    def load(cls, folder: Path) -> "Bm25":
        """Read what `save` wrote; its arrays are mapped, not read."""
        import bm25s

        return cls(bm25s.BM25.load(folder, mmap=True))

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        self._scorer.save(folder, show_progress=False)

    def ranked(self, query: str) -> Iterator[tuple[int, float]]:
        """The places of the texts that share a word with the query, with their scores, best first;
        ties in their own order."""
        known = [word for word in words(query) if word in self._scorer.vocab_dict]
        if not known:
            return
        scores = self._scorer.get_scores(known)
        for place in np.argsort(-scores, kind="stable"):
            if scores[place] <= 0:
                return
            yield int(place), float(scores[place])


def words(text: str) -> list[str]:
    """The words of a text in lower case, without a plural's `s`."""
    found = (word.casefold() for word in WORD.findall(text))
    return [w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in found]
