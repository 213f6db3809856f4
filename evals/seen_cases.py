"""Cases found again by their ids while they are played, of which few are remembered."""

from collections.abc import Sequence
from typing import overload

from medgym.cases import Case, CaseKey, CaseList

REMEMBERED = 512
"""How many of the cases that came last are remembered."""


class SeenCases(Sequence[Case]):
    """Cases in their order; the last ones that were asked for are found by their ids.

    Args:
        cases: the cases, each of an id of its own.
    """

    unique_ids = True

    def __init__(self, cases: CaseList) -> None:
        self._cases = cases
        self._seen: dict[str, Case] = {}
        self._next = iter(cases)

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Case]: ...
    def __getitem__(self, index: int | slice) -> Case | Sequence[Case]:
        if isinstance(index, slice):
            return self._cases[index]
        return self._noted(self._cases[index])

    def key_of(self, index: int) -> CaseKey:
        """The key of a case; see `CaseList.case_keys`."""
        return next(self._cases[index : index + 1].case_keys())

    def find(self, case_id: str) -> Case:
        """The case of an id.

        Raises:
            UserError: it is not among these.
        """
        return self._seen.get(case_id) or self._cases.find(case_id)

    def find_in_turn(self, case_id: str) -> Case:
        """As `find`, where ids are asked for nearly in the order of the cases."""
        while case_id not in self._seen:
            case = next(self._next, None)
            if case is None:
                return self._cases.find(case_id)
            self._noted(case)
        return self._seen[case_id]

    def _noted(self, case: Case) -> Case:
        self._seen[case.id] = case
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return case
