"""Cases made from rows of a file when they are asked for; rows that make none are counted."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from medgym.cases import Case, CaseKey
from medgym.lazy_sequence import LazySequence
from medgym.scorable import unscorable

Row = TypeVar("Row")


class Dropped(NamedTuple):
    """A row that makes no case.

    Attributes:
        place: where it is: "row 12 of questions.csv".
        reason: why no answer to it could be scored, in a few words: "the answer is blank".
    """

    place: str
    reason: str


class RowCases(LazySequence[Case], Generic[Row]):
    """The cases of rows, each made when it is asked for.

    Args:
        rows: what the file holds; it is indexed, and never copied.
        make: makes the case of a row.
        place: says where the row of a number is, such as "row 12 of questions.csv".
        fault: says why a row makes no case, or None. By default each case is made once, to see
            whether it can be scored; for many rows give what only looks at the row.
        suspects: the numbers of the rows that are looked at, growing; by default all. A source that
            has seen from whole columns that the other rows are good need not make them to open.
        key: says of a row what its case's key is, so that no case is made to compare keys.
        unique_ids: whether no two rows can have one id, so that nobody need remember those seen.

    Attributes:
        dropped: the rows without a case.
        rows: as the argument.
        kept: the numbers of the rows with one.
        all_gold: that each case has gold, since rows without make none.
        key_of: the key of the case of an index, where `key` was given.
    """

    all_gold = True

    def __init__(
        self,
        rows: Sequence[Row],
        make: Callable[[Row], Case],
        place: Callable[[int], str],
        fault: Callable[[Row], str | None] | None = None,
        *,
        suspects: Iterable[int] | None = None,
        key: Callable[[Row], CaseKey] | None = None,
        unique_ids: bool = False,
    ) -> None:
        self.rows = rows
        self.dropped: list[Dropped] = []
        self.unique_ids = unique_ids
        self._make = make
        gone = array("q")
        for number in range(len(rows)) if suspects is None else suspects:
            row = rows[number]
            reason = unscorable(make(row)) if fault is None else fault(row)
            if reason is not None:
                gone.append(number)
                self.dropped.append(Dropped(place(number), reason))
        self.kept = _without(len(rows), gone)
        self.key_of: Callable[[int], CaseKey] | None = None
        if key is not None:
            self.key_of = lambda index: key(rows[self.kept[index]])

    def __len__(self) -> int:
        return len(self.kept)

    def item(self, index: int) -> Case:
        """Make a case of its row."""
        return self._make(self.rows[self.kept[index]])


def _without(count: int, gone: "array[int]") -> Sequence[int]:
    """The numbers up to a count without some of them, eight bytes each."""
    if not gone:
        return range(count)
    kept = array("q")
    kept.frombytes(np.delete(np.arange(count, dtype=np.int64), gone).tobytes())
    return kept
