"""Figures of outcomes: accuracy by both readings, verdicts, and what repeats say.

All take what they need of each outcome in turn and keep no outcomes. None of them depends on the
order of the outcomes, to the last digit.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from statistics import fmean
from typing import Any, get_args

from medgym.metrics.rate import Rate
from medgym.scorer import Verdict

from ..looking.figures import looking_figures
from ..statistics.repeats import majority_at, pass_at
from .answers.number_answers import number_figures
from .answers.region_answers import region_figures
from .answers.report_answers import report_figures
from .open_answers import open_figures
from .outcome import CaseOutcome

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
    counted = sorted(
        (each.unit, (each.lenient_verdict if lenient else each.verdict) == "right")
        for each in outcomes
        if each.is_counted
    )
    return Rate.of([right for _, right in counted], [unit for unit, _ in counted])


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
    cases: dict[str, list[tuple[int, str | None, bool]]] = {}
    for each in outcomes:
        if each.is_counted:
            row = (each.member, each.vote, each.verdict == "right")
            cases.setdefault(each.case, []).append(row)
    most = min(map(len, cases.values()), default=0)
    if most < 2:
        return {}
    episodes = [
        [(said, right) for _, said, right in sorted(each, key=lambda row: row[0])]
        for each in cases.values()
    ]
    found = {
        f"pass@{k}": fmean(pass_at(k, sum(right for _, right in e), len(e)) for e in episodes)
        for k in sorted({1, 2, most})
    }
    found[f"majority@{most}"] = fmean(majority_at(most, each) for each in episodes)
    return found
