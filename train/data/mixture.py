"""Training cases of several sources, mixed by weights.

After any number of cases, each source's count differs from its share of them by less than one. The
order is fixed by the seed and the lengths of the sources; no case is made for it. Where a source
has none left, the mixture ends, and training begins again at its start: so the shares hold from the
first step to the last, and no case comes twice before all others of the mixture have come once.
What remains of the other sources is omitted, as by `order = "balanced"`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import overload

from medgym.cases import Case, CaseKey, CaseList
from medgym.errors import UserError

from ..recipe.schema import CasesTable
from ..run.overlap import shared_ids
from .order import CaseFacts, GoldCases, OrderedCases, order_of, ordered


def training_cases(table: CasesTable) -> GoldCases:
    """The cases of `[cases] train`, in the order of their source or sources.

    Raises:
        UserError: a spec names no cases, or there is none.
    """
    parts = table.parts
    if not parts:
        raise UserError("[cases] has no train; fix: name the cases that are trained on")
    cases = [GoldCases(part.spec) for part in parts]
    if len(parts) == 1:
        return cases[0]
    return MixedCases(cases, [part.label for part in parts], [part.weight for part in parts])


class _Joined(Sequence[Case]):
    """Several lists of cases, one after the other."""

    def __init__(self, lists: Sequence[Sequence[Case]]) -> None:
        self._lists = lists
        self._ends = tuple(accumulate(map(len, lists)))

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> CaseList: ...
    def __getitem__(self, index: int | slice) -> Case | CaseList:
        if isinstance(index, slice):
            return CaseList(self)[index]
        number, place = self.place(range(len(self))[index])
        return self._lists[number][place]

    def place(self, index: int) -> tuple[int, int]:
        """The list in which an index lies, and where in that list."""
        number = next(n for n, end in enumerate(self._ends) if index < end)
        return number, index - (self._ends[number - 1] if number else 0)


class MixedCases(GoldCases):
    """The cases of several specs, one after the other; `mixed` gives the order of training.

    Args:
        parts: the cases of each spec. names: what each is called. weights: of each in the mixture.
    """

    def __init__(
        self, parts: Sequence[GoldCases], names: Sequence[str], weights: Sequence[float]
    ) -> None:
        self.spec = " and ".join(part.spec for part in parts)
        self._parts = tuple(parts)
        self._names = tuple(names)
        self._weights = tuple(weights)
        self._joined = _Joined(self._parts)
        self._source: dict[str, str] = {}
        sizes = {part.listed.view_size for part in parts}
        listed = _Joined([part.listed for part in parts])
        self.listed = CaseList(
            listed,
            view_size=sizes.pop() if len(sizes) == 1 else None,
            all_gold=all(part.listed.all_gold for part in parts),
        )

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> OrderedCases: ...
    def __getitem__(self, index: int | slice) -> Case | OrderedCases:
        if isinstance(index, slice):
            return OrderedCases(self, range(len(self))[index])
        number, place = self._joined.place(range(len(self))[index])
        case = self._parts[number][place]
        name = self._names[number]
        first = self._source.setdefault(case.id, name)
        if first != name:  # `check` compares what may overlap; two sources have no id in common
            raise UserError(
                f"the case {case.id!r} of [cases] train is both in {first} and in {name}; fix: "
                "name cases once"
            )
        return case

    @property
    def parts(self) -> tuple[GoldCases, ...]:
        """The cases of each spec."""
        return self._parts

    @cached_property
    def facts(self) -> tuple[CaseFacts, ...]:
        """The facts of each case, each list read in one walk."""
        return tuple(fact for part in self._parts for fact in part.facts)

    def case_keys(self) -> Iterator[CaseKey]:
        """The key of each case."""
        return (key for part in self._parts for key in part.case_keys())

    def source_of(self, case: Case) -> str | None:
        """What the list is called that a case comes from, once the case has been indexed."""
        return self._source.get(case.id)

    def check(self) -> None:
        """Make sure that every case can be scored and is in one list only.

        Raises:
            UserError: one cannot, or is in two lists.
        """
        for number, part in enumerate(self._parts):
            part.check()
            for other in self._parts[:number]:
                twice = shared_ids(part, other)
                if twice:
                    raise UserError(
                        f"{len(twice)} cases of [cases] train are both in {other.spec} and in "
                        f"{part.spec} (the first is {twice[0]}); fix: name cases once"
                    )

    def check_view_sizes(self) -> None:
        """Make sure that the sources ask for one view size.

        Raises:
            UserError: they ask for several.
        """
        sizes = {part.listed.view_size for part in self._parts}
        if len(sizes) > 1:
            raise UserError(
                "the sources of [cases] train are not shown at one view size; fix: set [rollout] "
                "view_size"
            )

    def mixed(self, kind: str, seed: int) -> OrderedCases:
        """The cases in the order of training: each list in its own order, mixed by the weights."""
        orders = [order_of(part, kind, seed, number) for number, part in enumerate(self._parts)]
        starts = [0, *accumulate(map(len, self._parts))]
        turns = [0] * len(orders)
        dealt: list[int] = []
        for number in deal(self._weights):
            if turns[number] == len(orders[number]):
                break
            dealt.append(starts[number] + orders[number][turns[number]])
            turns[number] += 1
        return OrderedCases(self, dealt)

    def describe(self, count: int) -> str:
        """What a mixture of so many cases is made of, in a line."""
        whole = sum(self._weights)
        named = zip(self._names, self._weights, self._parts, strict=True)
        shares = ", ".join(
            f"{100 * weight / whole:.3g} % {name} (of {len(part)})" for name, weight, part in named
        )
        return f"cases: a mixture of {count}, {shares}; then from its start again"


def training_order(cases: GoldCases, kind: str, seed: int) -> OrderedCases:
    """Cases in the order of training; those of several sources are mixed."""
    return cases.mixed(kind, seed) if isinstance(cases, MixedCases) else ordered(cases, kind, seed)


def deal(weights: Sequence[float]) -> Iterator[int]:
    """Whose turn it is, without end: each gets turns by its weight.

    After n turns, each has had n times its share of them, give or take less than one (R. Tijdeman,
    The chairman assignment problem, Discrete Mathematics 32, 1980).
    """
    shares = [weight / sum(weights) for weight in weights]
    slack = 1 / (2 * len(shares) - 2) if len(shares) > 1 else 0.0
    had = [0] * len(shares)
    turn = 0
    while True:
        turn += 1
        waiting = [n for n, share in enumerate(shares) if share * turn - had[n] >= slack - 1e-9]
        due = min(waiting, key=lambda n: (had[n] + 1 - slack) / shares[n])
        had[due] += 1
        yield due


SourceOf = Callable[[Case], str | None]
"""Says which of several sources a case is of."""


def accuracies(answers: Sequence[tuple[str | None, bool]]) -> dict[str, float]:
    """The share of right answers, and that of each source: `accuracy`, `accuracy/SOURCE`.

    Args:
        answers: the source of each, where there are several, and whether it was right.
    """
    right: dict[str, list[bool]] = {}
    for name, is_right in answers:
        right.setdefault("accuracy", []).append(is_right)
        if name is not None:
            right.setdefault(f"accuracy/{name}", []).append(is_right)
    return {name: sum(each) / len(each) for name, each in right.items()}
