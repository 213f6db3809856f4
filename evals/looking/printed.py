"""How a policy looked, as a table in the terminal."""

from collections.abc import Mapping

from medgym.commands.printing import WIDTH, percent, print_columns
from medgym.judge import Judgement
from medgym.metrics.rate import Rate

from ..tables import bounds
from .figures import BLIND, FAILED, NAMES, RIGHT_SHOWN, WRONG_PLACE, WRONG_SHOWN

HEADINGS = ("looking", "value", "95 % interval", "of")


def print_looking(judgement: Judgement) -> None:
    """One row for each figure of how a policy looked; nothing where it never looked."""
    rows = []
    for name in NAMES:
        value = judgement.metrics.get(name)
        if isinstance(value, Rate):
            rows.append((name, percent(value.value), bounds(value), f"{value.n:,}"))
        elif value is not None:
            rows.append((name, f"{value:.2f}", "-", "-"))
    if rows:
        print()
        print_columns(HEADINGS, rows, WIDTH)


SUITE = ("looking", "right, seen", "wrong, seen", "wrong place", "right, blind", "failed calls")
"""Headings of `suite_rows`."""


def suite_rows(judgements: Mapping[str, Judgement]) -> list[tuple[str, ...]]:
    """Of a suite: a row for each benchmark with gold regions of which the policy looked."""
    wanted = (RIGHT_SHOWN, WRONG_SHOWN, WRONG_PLACE, BLIND, FAILED)
    rows = []
    for name, judgement in judgements.items():
        shares = [judgement.metrics.get(each) for each in wanted]
        if any(isinstance(share, Rate) for share in shares[:-1]):
            cells = [percent(each.value) if isinstance(each, Rate) else "-" for each in shares]
            rows.append((name, *cells))
    return rows
