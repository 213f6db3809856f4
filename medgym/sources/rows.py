"""Cases made from rows of a file when they are asked for; rows that make none are counted."""

from array import array
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, overload

from medgym.cases import Case
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


class RowCases(Sequence[Case], Generic[Row]):
    """The cases of rows, each made when it is asked for.

    Args:
        rows: what the file holds; it is indexed, and never copied.
        make: makes the case of a row.
        place: says where the row of a number is, such as "row 12 of questions.csv".
        fault: says why a row makes no case, or None. By default each case is made once, to see
            whether it can be scored; for many rows give what only looks at the row.

    Attributes:
        dropped: the rows without a case.
        rows: as the argument.
        kept: the numbers of the rows with one.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        make: Callable[[Row], Case],
        place: Callable[[int], str],
        fault: Callable[[Row], str | None] | None = None,
    ) -> None:
        self.rows = rows
        self.kept = array("q")
        self.dropped: list[Dropped] = []
        self._make = make
        for number in range(len(rows)):
            row = rows[number]
            reason = unscorable(make(row)) if fault is None else fault(row)
            if reason is None:
                self.kept.append(number)
            else:
                self.dropped.append(Dropped(place(number), reason))

    def __len__(self) -> int:
        return len(self.kept)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Case]: ...
    def __getitem__(self, index: int | slice) -> Case | Sequence[Case]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        return self._make(self.rows[self.kept[index]])
