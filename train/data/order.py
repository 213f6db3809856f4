"""The cases of a run, opened once and made lazily, and the order in which they are trained on."""

import math
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from medgym.cases import Case, CaseKey, open_cases
from medgym.scorer import scorer_name
from medgym.seeds import seed_of

from ..recipe.settings import Keys


class CaseFacts(NamedTuple):
    """What is asked of every case before training: no pixels, no text of the question."""

    id: str
    answer: str
    specialty: str | None
    key: CaseKey
    scorer: str


class GoldCases(Sequence[Case]):
    """The cases of a spec. Each can be scored: without gold nothing can be earned.

    A case is made when it is first indexed, and kept. What is asked of all of them (`facts`) is
    read in one walk, and only when it is asked for. The walk keeps no case, so that many fit: a
    case that is used afterwards is made a second time.

    Args:
        spec: a case spec.

    Attributes:
        listed: the cases as the spec names them, made at each access.

    Raises:
        UserError: the spec names no cases; and, when it is made, a case cannot be scored.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.listed = open_cases(spec)
        self._made: dict[int, Case] = {}

    def __len__(self) -> int:
        return len(self.listed)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> "OrderedCases": ...
    def __getitem__(self, index: int | slice) -> "Case | OrderedCases":
        if isinstance(index, slice):
            return OrderedCases(self, range(len(self))[index])
        place = range(len(self))[index]
        if place not in self._made:
            self._made[place] = self.listed[place]
        return self._made[place]

    @cached_property
    def facts(self) -> tuple[CaseFacts, ...]:
        """The facts of each case, read in one walk; `UserError` where one cannot be scored."""
        found = []
        for case in self.listed:
            key = CaseKey(case.id, case.source, case.group)
            scorer = scorer_name(case)
            found.append(CaseFacts(case.id, case.answer, case.specialty, key, scorer))
        return tuple(found)

    @property
    def parts(self) -> "tuple[GoldCases, ...]":
        """The lists of cases that these are put together from, each of one spec."""
        return (self,)

    def case_keys(self) -> Iterator[CaseKey]:
        """The key of each case; of a source that does not say that all have gold, by `facts`."""
        if self.listed.all_gold:
            return self.listed.case_keys()
        return (facts.key for facts in self.facts)

    def check(self) -> None:
        """Make sure that every case can be scored, without a walk where the source says that all
        can.

        Raises:
            UserError: one cannot.
        """
        if not self.listed.all_gold:
            _ = self.facts


class OrderedCases(Sequence[Case]):
    """Cases in an order of their own, made when they are indexed.

    Attributes:
        places: where in this order each case lies that was indexed so far, by its id.
    """

    def __init__(self, cases: Sequence[Case], indices: Sequence[int]) -> None:
        self._cases = cases
        self._indices = indices
        self.places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> "OrderedCases": ...
    def __getitem__(self, index: int | slice) -> "Case | OrderedCases":
        if isinstance(index, slice):
            return OrderedCases(self._cases, self._indices[index])
        place = range(len(self))[index]
        case = self._cases[int(self._indices[place])]
        self.places[case.id] = place
        return case

    def of_specialty(self, specialty: str) -> "OrderedCases":
        """Those of one specialty, in the same order."""
        facts = _facts(self._cases)
        own = [index for index in self._indices if facts[index].specialty == specialty]
        return OrderedCases(self._cases, own)

    def __iter__(self) -> Iterator[Case]:
        return (self[place] for place in range(len(self)))


def _facts(cases: Sequence[Case]) -> Sequence[CaseFacts | Case]:
    return cases.facts if isinstance(cases, GoldCases) else cases


def ordered(cases: Sequence[Case], kind: str, seed: int) -> OrderedCases:
    """Cases in the order of training; see `order_of`."""
    return OrderedCases(cases, order_of(cases, kind, seed))


def order_of(cases: Sequence[Case], kind: str, seed: int, *purpose: object) -> list[int]:
    """The indices of cases in the order of training; `purpose` is in the seed.

    `shuffled` is a permutation. `balanced` deals the gold answers out in rounds, each round holding
    every answer once in shuffled order, so that no step forgets one; cases that remain when an
    answer runs out are omitted.
    """
    rng = np.random.default_rng(seed_of(seed, "order", *purpose))
    shuffled = [int(i) for i in rng.permutation(len(cases))]
    if kind == "shuffled":
        return shuffled
    facts = _facts(cases)
    hands: dict[str, list[int]] = {}
    for index in shuffled:
        hands.setdefault(facts[index].answer, []).append(index)
    answers = sorted(hands)
    rounds = min(len(hand) for hand in hands.values())
    dealt: list[int] = []
    for turn in range(rounds):
        dealt += [hands[answers[int(i)]][turn] for i in rng.permutation(len(answers))]
    return dealt


def needed(grpo: Keys, available: int) -> int:
    """How many cases `[grpo]` trains on before it begins again: one for each of its groups.

    All that are available where no number of steps is set. Defaults are `trl.GRPOConfig`'s.
    """
    steps = int(grpo.get("max_steps", -1))
    if steps < 0:
        return available
    rows = int(grpo.get("per_device_train_batch_size", 8))
    rows *= int(grpo.get("gradient_accumulation_steps", 1)) * int(os.environ.get("WORLD_SIZE", 1))
    groups = steps * rows / int(grpo.get("num_generations", 8)) / int(grpo.get("num_iterations", 1))
    return min(available, math.ceil(groups))
