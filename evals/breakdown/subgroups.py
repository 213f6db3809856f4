"""Accuracy by kind of case: modality, body part, type of answer, language, source."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from medgym.errors import UserError
from medgym.metrics.rate import Rate

from ..outcomes.figures import LENIENT
from ..outcomes.outcome import CaseOutcome

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
    rows = [
        _Row(
            each.unit, each.verdict == "right", each.lenient_verdict == "right",
            tuple(getattr(each, kind) or NOT_GIVEN for kind in asked),
        )
        for each in outcomes if each.is_counted
    ]  # fmt: skip
    rows.sort(key=lambda row: row[:3])  # the order of episodes must not change a digit
    found: Subgroups = {}
    for place, kind in enumerate(asked):
        parts: dict[str, list[_Row]] = {}
        for row in rows:
            parts.setdefault(row.values[place], []).append(row)
        ordered = sorted(parts, key=lambda value: (-len(parts[value]), value))
        if len(ordered) > LISTED:
            rest = [row for value in ordered[LISTED:] for row in parts[value]]
            name = f"{len(ordered) - LISTED} others"
            ordered, parts[name] = [*ordered[:LISTED], name], rest
        if len(ordered) > 1:
            found[kind] = {value: _figures(parts[value]) for value in ordered}
    return found


class _Row(NamedTuple):
    """What a subgroup needs of an episode."""

    unit: tuple[str, str]
    right: bool
    right_leniently: bool
    values: tuple[str, ...]


def _figures(rows: Sequence[_Row]) -> dict[str, Any]:
    units = [row.unit for row in rows]
    groups = len(set(units))
    return {
        "accuracy": Rate.of([row.right for row in rows], units).as_dict(),
        LENIENT: Rate.of([row.right_leniently for row in rows], units).as_dict(),
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
