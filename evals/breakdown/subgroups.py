"""Accuracy by kind of case: modality, body part, type of answer, language, source."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import numpy as np

from medgym.errors import UserError
from medgym.metrics.rate import Rate

from ..outcomes.columns import Ints, NumberColumns
from ..outcomes.figures import LENIENT
from ..outcomes.outcome import CaseOutcome
from ..outcomes.packed import in_order

KINDS = ("modality", "body_part", "answer_type", "language", "source")
"""By what cases are told apart."""

SMALL = 20
"""A subgroup of fewer groups is marked: its interval is wide, and one patient moves its figure."""

LISTED = 50
"""Subgroups of one kind that are told apart, the largest first; the others are one."""

NOT_GIVEN = "not given"

Subgroups = dict[str, dict[str, dict[str, Any]]]
"""For each kind and each of its values the figures of its cases; see `subgroups`."""


def subgroups(outcomes: Iterable[CaseOutcome], kinds: Iterable[str] = KINDS) -> Subgroups:
    """The accuracy of each subgroup, of the kinds of which the cases have several values.

    Of each value: `accuracy` and the lenient one, both with intervals over groups, `groups`, and
    `small` where these are fewer than 20. The largest subgroup comes first.
    """
    asked = tuple(kinds)
    numbers: list[dict[str, int]] = [{} for _ in asked]
    rows = (
        (
            each.unit, each.verdict == "right", each.lenient_verdict == "right",
            *(
                known.setdefault(getattr(each, kind) or NOT_GIVEN, len(known))
                for known, kind in zip(numbers, asked, strict=True)
            ),
        )
        for each in outcomes if each.is_counted
    )  # fmt: skip
    # In order, since that of the episodes must not change a digit.
    columns = NumberColumns(in_order(rows, key=itemgetter(0, 1, 2)), 2 + len(asked))
    found: Subgroups = {}
    for kind, known, column in zip(asked, numbers, columns.values[2:], strict=True):
        parts = {value: np.flatnonzero(column == number) for value, number in known.items()}
        ordered = sorted(parts, key=lambda value: (-len(parts[value]), value))
        if len(ordered) > LISTED:
            rest = np.concatenate([parts[value] for value in ordered[LISTED:]])
            name = f"{len(ordered) - LISTED} others"
            ordered, parts[name] = [*ordered[:LISTED], name], rest
        if len(ordered) > 1:
            found[kind] = {value: _figures(columns, parts[value]) for value in ordered}
    return found


def _figures(columns: NumberColumns, places: Ints) -> dict[str, Any]:
    right, leniently = columns.values[:2, places] == 1
    units = columns.groups(places)
    groups = len(set(units))
    return {
        "accuracy": Rate.of(right.tolist(), units).as_dict(),
        LENIENT: Rate.of(leniently.tolist(), units).as_dict(),
        "groups": groups,
        **({"small": True} if groups < SMALL else {}),
    }


def kinds_named(text: str) -> tuple[str, ...]:
    """The kinds that `--by A,B` names.

    Raises:
        UserError: one is none.
    """
    names = tuple(name.strip().replace("-", "_") for name in text.split(","))
    for name in names:
        if name not in KINDS:
            raise UserError(
                f"--by {name!r} is no kind of case; fix: choose from {', '.join(KINDS)}"
            )
    return names
