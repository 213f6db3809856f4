"""The prior: the most frequent answer to questions of a kind, learned from other groups.

The narrowest kind of a case counts of which there are enough cases of other groups (see `kinds`).
A case's own group is left out, so that the prior is not fitted on itself. Among answers that are
about equally frequent that alone would decide, and always against the case. So answers are tied
whose order leaving out the group could change, and each counts its part.
"""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case
from medgym.seeds import seed_of

from .kinds import LEVELS, labels

ENOUGH = 5
"""Cases of other groups from which a kind is learned."""

MOST = 26
"""Answers that are tied at most; the most frequent ones are taken."""

Ints = NDArray[np.int64]


class FrequentAnswers:
    """Counts golds in a stream of cases; then says for each place what the prior answers.

    It keeps a few numbers of each case, and each different gold once.

    Attributes:
        groups: a hash of what each case is not independent of.
    """

    def __init__(self) -> None:
        self._kinds = [array("q") for _ in range(LEVELS)]
        self._golds = [array("q") for _ in range(LEVELS)]
        self.groups = array("q")
        self._numbers: dict[str, int] = {}

    def add(self, case: Case) -> None:
        """Count a case."""
        found = labels(case)
        for level in range(LEVELS):
            kind, text = found[level] if found else (0, "")
            number = self._numbers.setdefault(text, len(self._numbers)) if found else -1
            self._kinds[level].append(kind)
            self._golds[level].append(number)
        self.groups.append(seed_of(case.source, case.group or case.id))

    def most_frequent(self, count: int) -> list[str]:
        """The golds that are most frequent in all, texts and letters."""
        found: dict[str, int] = {}
        texts = list(self._numbers)
        for golds in (self._golds[0], self._golds[-1]):
            numbers, counts = np.unique(np.asarray(golds, np.int64), return_counts=True)
            ranked = sorted(
                (-int(n), texts[number])
                for number, n in zip(numbers.tolist(), counts.tolist(), strict=True)
                if number >= 0
            )
            found |= {text: n for n, text in ranked[:count]}
        return sorted(found, key=lambda text: (found[text], text))

    def forget(self) -> None:
        """Keep no more than the groups: nothing else is asked any more."""
        self._kinds, self._golds, self._numbers = [], [], {}

    def answers(self) -> list[tuple[str, ...]]:
        """What the prior answers to each case, in the order in which they were added. Several
        answers are tied. None where nothing is known of its kind."""
        size = len(self.groups)
        groups = np.asarray(self.groups, np.int64)
        texts = list(self._numbers)
        found: list[tuple[str, ...]] = [()] * size
        shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # cases have the same few
        is_open = np.ones(size, np.bool_)
        for kinds, golds in zip(self._kinds, self._golds, strict=True):
            kind, gold = np.asarray(kinds, np.int64), np.asarray(golds, np.int64)
            wanted = is_open & (gold >= 0)
            for members in _segments(kind, np.flatnonzero(gold >= 0)):
                if not wanted[members].any():
                    continue
                for own, tied in _left_out(gold[members], groups[members], texts):
                    answers = tuple(texts[number] for number in tied)
                    answers = shared.setdefault(answers, answers)
                    for place in members[own][wanted[members[own]]]:
                        found[place] = answers
                        is_open[place] = False
        return found


def _segments(keys: Ints, places: Ints) -> Iterator[Ints]:
    """The places of each key."""
    if not places.size:
        return
    ordered = places[np.argsort(keys[places], kind="stable")]
    ends = np.append(np.flatnonzero(np.diff(keys[ordered])) + 1, len(ordered))
    start = 0
    for end in ends:
        yield ordered[start:end]
        start = end


def _left_out(golds: Ints, groups: Ints, texts: list[str]) -> Iterator[tuple[Ints, list[int]]]:
    """For each group among the cases of a kind, its places there and the answers of the others."""
    numbers, coded, counts = np.unique(golds, return_inverse=True, return_counts=True)
    names = [texts[number] for number in numbers.tolist()]
    for own in _segments(groups, np.arange(len(groups))):
        if len(groups) - len(own) < ENOUGH:
            continue
        left = counts - np.bincount(coded[own], minlength=len(counts))
        tied = np.flatnonzero((left > 0) & (counts >= counts.max() - len(own)))
        best = sorted(tied.tolist(), key=lambda at: (-int(counts[at]), names[at]))[:MOST]
        yield own, [int(numbers[at]) for at in best]
