"""No policy learns from stored episodes of a case that it is tested on, or of the same patient."""

from collections.abc import Iterable, Iterator, Sequence

from medgym.case_spec import file_named
from medgym.cases import Case, CaseKey, CaseList
from medgym.errors import UserError

from ..data.order import GoldCases
from .overlap import same_content

TEST = "test"
"""The split of a source from which nothing is learned."""


class Guard:
    """Which cases are held out, by id, by group and, of cases in files, by content.

    Args:
        held_out: the cases that the policy will be judged by.
        among: the cases that may be learned from, if they are known; those of their split `test`
            are held out too, with all others of the same groups.
    """

    def __init__(self, held_out: Sequence[GoldCases], among: CaseList | None = None) -> None:
        self._ids: dict[str, str] = {}
        self._groups: dict[tuple[str, str], str] = {}
        self._files: list[GoldCases] = []
        for cases in held_out:
            for part in cases.parts:
                for key in part.case_keys():
                    self._hold(key, part.spec)
                if _is_file(part.spec):
                    self._files.append(part)
        if (
            among is not None and not among.all_gold
        ):  # a source that knows its cases puts no group into two splits
            for case in among:
                if case.split == TEST:
                    self._hold(CaseKey(case.id, case.source, case.group), "the split test")

    def _hold(self, key: CaseKey, where: str) -> None:
        self._ids.setdefault(key.id, where)
        if key.group:
            self._groups.setdefault(key.group_key, where)

    def check_id(self, case_id: str) -> None:
        """Refuse a test case of which only the id is known.

        Raises:
            UserError: it is one.
        """
        source, _, rest = case_id.partition("/")
        if rest.partition("/")[0] == TEST:
            raise _refused(case_id, f"is of the split test of {source}")
        if case_id in self._ids:
            raise _refused(case_id, f"is one of {self._ids[case_id]}, which is held out")

    def check_key(self, key: CaseKey) -> None:
        """Refuse a test case, or another one of its group.

        Raises:
            UserError: it is one.
        """
        self.check_id(key.id)
        where = self._groups.get(key.group_key)
        if where is not None:
            raise _refused(key.id, f"is of the group {key.group!r}, as cases of {where} are")

    def check(self, cases: Iterable[Case]) -> None:
        """Refuse test cases, and others of their groups.

        Raises:
            UserError: there is one among these.
        """
        known = list(cases)
        for case in known:
            if case.split == TEST:
                raise _refused(case.id, f"is of the split test of {case.source}")
            self.check_key(CaseKey(case.id, case.source, case.group))
        for case, spec in self._alike(known):
            raise _refused(case.id, f"asks the same about the same images as a case of {spec}")

    def _alike(self, cases: Sequence[Case]) -> Iterator[tuple[Case, str]]:
        for part in self._files:
            for case in same_content(cases, part.listed):
                yield case, part.spec


def _refused(case_id: str, why: str) -> UserError:
    return UserError(
        f"the case {case_id!r} {why}: nothing may be learned from it; fix: take the episodes "
        "of training cases"
    )


def _is_file(spec: str) -> bool:
    return file_named(spec) is not None
