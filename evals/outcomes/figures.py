"""Figures of outcomes: accuracy by both readings, verdicts, and what repeats say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, get_args

from medgym.cases import normalised
from medgym.metrics.rate import Rate
from medgym.scorer import Verdict

from ..statistics.repeats import majority_at, pass_at
from .open_answers import open_figures
from .outcome import CaseOutcome
from .report_answers import report_figures

LENIENT = "read leniently"
"""The name of the accuracy in which an answer counts in any form."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def summary(outcomes: Sequence[CaseOutcome]) -> dict[str, Any]:
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
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "scorers": {each.scorer: each.version for each in outcomes},
        **_repeated(outcomes),
    }


def accuracy(outcomes: Sequence[CaseOutcome], *, lenient: bool) -> Rate:
    """The share of right answers among the outcomes that count, with its interval over groups."""
    counted = [each for each in outcomes if each.is_counted]
    return Rate.of(
        [(each.lenient_verdict if lenient else each.verdict) == "right" for each in counted],
        [each.unit for each in counted],
    )


def further(outcomes: Sequence[CaseOutcome]) -> Mapping[str, Rate | float]:
    """What a judgement does not say: the accuracy by the lenient reading, how often each verdict
    was given that is neither right nor wrong, what open answers share with their golds, and what
    repeats say."""
    counted = [each for each in outcomes if each.is_counted]
    if not counted:
        return {}
    verdicts = Counter(each.verdict for each in counted)
    shares = {
        verdict: verdicts[verdict] / len(counted)
        for verdict in ("unparsed", "unanswered")
        if verdicts[verdict]
    }
    lenient = {LENIENT: accuracy(outcomes, lenient=True)}
    return {**lenient, **shares, **by_type(outcomes), **_repeated(outcomes)}


def by_type(outcomes: Sequence[CaseOutcome]) -> dict[str, Rate]:
    """What is measured of answers of one type only: of open ones and of reports."""
    return open_figures(outcomes) | report_figures(outcomes)


def _repeated(outcomes: Sequence[CaseOutcome]) -> dict[str, float]:
    """pass@k and majority@k, where each case has k episodes and k is above 1."""
    cases: dict[str, list[CaseOutcome]] = {}
    for each in outcomes:
        if each.is_counted:
            cases.setdefault(each.case, []).append(each)
    most = min(map(len, cases.values()), default=0)
    if most < 2:
        return {}
    found = {
        f"pass@{k}": fmean(pass_at(k, _right(each), len(each)) for each in cases.values())
        for k in sorted({1, 2, most})
    }
    found[f"majority@{most}"] = fmean(
        majority_at(most, [(_said(o), o.verdict == "right") for o in each])
        for each in cases.values()
    )
    return found


def _right(outcomes: Sequence[CaseOutcome]) -> int:
    return sum(each.verdict == "right" for each in outcomes)


def _said(outcome: CaseOutcome) -> str | None:
    return None if outcome.answer is None else normalised(outcome.answer)
