"""Figures of outcomes: accuracy by both readings, verdicts, and what repeats say.

All take what they need of each outcome in turn and keep no outcomes. None of them depends on the
order of the outcomes, to the last digit.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import Any, get_args

from medgym.metrics.rate import Rate
from medgym.scorer import Verdict

from ..looking.figures import looking_figures
from ..statistics.repeats import majority_at, pass_at
from .answers.number_answers import number_figures
from .answers.region_answers import region_figures
from .answers.report_answers import report_figures
from .columns import NumberColumns
from .open_answers import open_figures
from .outcome import CaseOutcome
from .packed import PackedRows, in_order

LENIENT = "read leniently"
"""The name of the accuracy in which an answer counts in any form."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def summary(outcomes: Collection[CaseOutcome]) -> dict[str, Any]:
    """What the outcomes of one benchmark come to: accuracy by the strict and by the lenient
    reading, with intervals over groups, and how many episodes got each verdict."""
    verdicts = Counter(each.verdict for each in outcomes)
    return {
        "episodes": len(outcomes),
        "cases": len({each.case for each in outcomes}),
        "groups": len({each.unit for each in outcomes}),
        "accuracy": accuracy(outcomes, lenient=False).as_dict(),
        LENIENT: accuracy(outcomes, lenient=True).as_dict(),
        **{name: rate.as_dict() for name, rate in by_type(outcomes).items()},
        **{name: plain(figure) for name, figure in looking_figures(outcomes).items()},
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "scorers": dict(sorted({(each.scorer, each.version) for each in outcomes})),
        **_repeated(outcomes),
    }


def accuracy(outcomes: Collection[CaseOutcome], *, lenient: bool) -> Rate:
    """The share of right answers among the outcomes that count, with its interval over groups."""
    rows = (
        (each.unit, (each.lenient_verdict if lenient else each.verdict) == "right")
        for each in outcomes
        if each.is_counted
    )
    return rate_of(rows)


def rate_of(rows: Iterable[tuple[Hashable, bool]]) -> Rate:
    """The share of right ones among rows of a unit and whether it is right."""
    counted = NumberColumns(in_order(rows), 1)
    return Rate.of((counted.values[0] == 1).tolist(), counted.groups())


def plain(figure: Rate | float) -> dict[str, float] | float:
    """A figure as JSON holds it."""
    return figure.as_dict() if isinstance(figure, Rate) else figure


def further(outcomes: Collection[CaseOutcome]) -> Mapping[str, Rate | float]:
    """What a judgement does not say: the accuracy by the lenient reading, how often each verdict
    was given that is neither right nor wrong, what open answers share with their golds, how the
    looks and the gold regions fit, and what repeats say."""
    verdicts = Counter(each.verdict for each in outcomes if each.is_counted)
    if not verdicts:
        return {}
    shares = {
        verdict: verdicts[verdict] / verdicts.total()
        for verdict in ("unparsed", "unanswered")
        if verdicts[verdict]
    }
    lenient = {LENIENT: accuracy(outcomes, lenient=True)}
    looking = looking_figures(outcomes)
    return {**lenient, **shares, **by_type(outcomes), **looking, **_repeated(outcomes)}


def by_type(outcomes: Collection[CaseOutcome]) -> dict[str, Rate]:
    """What is measured of answers of one type only: open ones, reports, numbers, regions."""
    parts = (open_figures, report_figures, number_figures, region_figures)
    return {name: rate for part in parts for name, rate in part(outcomes).items()}


def _repeated(outcomes: Collection[CaseOutcome]) -> dict[str, float]:
    """pass@k and majority@k, where each case has k episodes and k is above 1."""
    if not any(each.member for each in outcomes):
        return {}
    rows = (
        (each.case, each.member, each.vote, each.verdict == "right")
        for each in outcomes
        if each.is_counted
    )
    of_cases = groupby(in_order(rows, key=itemgetter(0, 1)), key=itemgetter(0))
    episodes = PackedRows([(said, right) for *_, said, right in each] for _, each in of_cases)
    most = min(map(len, episodes), default=0)
    if most < 2:
        return {}
    found = {
        f"pass@{k}": fmean(pass_at(k, sum(right for _, right in e), len(e)) for e in episodes)
        for k in sorted({1, 2, most})
    }
    found[f"majority@{most}"] = fmean(majority_at(most, each) for each in episodes)
    return found
