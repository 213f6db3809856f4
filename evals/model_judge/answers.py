"""What a judge says of stored answers, beside what the rules say.

It grades open answers and reports, which no rule decides but an exact one; on request all answers.
Where a rule decides, the two are compared: in closed answers, choices, numbers and sets, and in
open answers that equal the gold. The judge changes no verdict, no reward and no accuracy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medgym.cases import Case, case_hash
from medgym.metrics.rate import Rate
from medgym.trajectory import Trajectory

from ..outcomes.answer_text import answer_text
from ..outcomes.outcome import CaseOutcome
from ..statistics.agreement import agreement
from .asking import Asked, ModelJudge
from .prompt import data_of
from .replies import JudgeRequest

JUDGED_BY = "judged_by"
"""The key of results under which a judge's figures stand."""

PARTLY_IS_WRONG = {"partly": "wrong"}

Ruled = Literal["right", "wrong"]


@dataclass(frozen=True)
class Judgeable:
    """A stored answer that a judge may grade.

    Attributes:
        benchmark: of a suite; empty else. unit: what the case is not independent of.
        request: what the judge is asked; None where the policy said nothing, which is not right.
        is_open: whether it is an open answer or a report.
        ruled: what the rule says, where one decides.
    """

    benchmark: str
    unit: tuple[str, str]
    request: JudgeRequest | None
    is_open: bool
    ruled: Ruled | None


def judgeable(case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> Judgeable | None:
    """An answer as a judge grades it; None where the figures do not count the case, and where its
    answer is a region, of which a judge that sees no image can say nothing."""
    if not outcome.is_counted or case.answer_type == "region":
        return None
    text = answer_text(case, trajectory)
    request = None
    if text:
        data = data_of(case.question, case.options, case.golds, answer=text)
        request = JudgeRequest(case.id, outcome.case_hash or case_hash(case), text, data)
    is_open = case.answer_type in ("open", "report") and not case.options
    return Judgeable(outcome.benchmark, outcome.unit, request, is_open, _ruled(outcome, is_open))


def _ruled(outcome: CaseOutcome, is_open: bool) -> Ruled | None:
    verdict = outcome.lenient_verdict
    if verdict == "right":
        return "right"
    return "wrong" if verdict == "wrong" and not is_open else None


def judged_answers(
    answers: Iterable[Judgeable], judge: ModelJudge, *, every: bool
) -> dict[str, dict[str, Any]]:
    """What a judge says of answers: its figures for each benchmark.

    Args:
        every: whether these are all answers, and not only open ones and reports.

    Raises:
        UserError, RunError: as of `ModelJudge.ask`.
    """
    # In one order, whatever the order of the episodes: an interval is to be the same to the digit.
    chosen = sorted(answers, key=_place)
    asked = judge.ask([each.request for each in chosen if each.request is not None])
    parts: dict[str, list[Judgeable]] = {}
    for each in chosen:
        parts.setdefault(each.benchmark, []).append(each)
    seen: set[str] = set()  # an answer that two benchmarks share is paid for once
    return {name: _figures(part, asked, judge, every, seen) for name, part in parts.items()}


def _place(answer: Judgeable) -> tuple[str, ...]:
    request = answer.request
    asked = ("", "") if request is None else (request.case_hash, request.text)
    return (answer.benchmark, *answer.unit, *asked)


def _figures(
    answers: Sequence[Judgeable], asked: Asked, judge: ModelJudge, every: bool, seen: set[str]
) -> dict[str, Any]:
    verdicts: list[str] = []
    graded: list[tuple[Judgeable, str]] = []
    compared: list[tuple[Ruled, str, tuple[str, str]]] = []
    for each in answers:
        if each.request is None:
            verdicts.append("unanswered")
            graded.append((each, "wrong"))
            continue
        key = judge.key(each.request)
        label = asked.labels.get(key)
        verdicts.append(label or asked.missing[key])
        if label is not None:
            graded.append((each, label))
            if each.ruled is not None:
                compared.append((each.ruled, label, each.unit))
    keys = {judge.key(each.request) for each in answers if each.request is not None} - seen
    seen |= keys
    units = [each.unit for each, _ in graded]
    agreed = agreement(
        [one for one, _, _ in compared],
        [two for _, two, _ in compared],
        [unit for _, _, unit in compared],
        merged=PARTLY_IS_WRONG,
    )
    return {
        **judge.as_dict(),
        "of": "all answers" if every else "open answers and reports",
        "right": Rate.of([label == "right" for _, label in graded], units).as_dict(),
        "right or partly": Rate.of([label != "wrong" for _, label in graded], units).as_dict(),
        "verdicts": dict(Counter(verdicts).most_common()),
        "agreement": None if agreed is None else agreed.as_dict(),
        **judge.spent(sorted(keys)).as_dict(),
    }


NO_VERDICT = ("unparsed", "refused", "filtered", "empty", "failed")


def judged_rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A judge's figures as rows of a table."""
    from ..tables import interval

    counts: Mapping[str, int] = figures["verdicts"]
    usage = usage_rows(figures)
    missing = {name: counts[name] for name in NO_VERDICT if name in counts}
    rows = [("judged by", f"{figures['judge']} ({figures['prompt']}), {figures['of']}")]
    for name in ("right", "right or partly"):
        rate = Rate(**figures[name])
        rows.append((f"  {name}", f"{interval(rate)} of {rate.n}" if rate.n else "-"))
    if missing:
        said = ", ".join(f"{name} {count}" for name, count in missing.items())
        rows.append(("  no verdict", f"{sum(missing.values())}: {said}; left out"))
    agreed = figures["agreement"]
    if agreed is None:
        unknown = "not known: no answer has a verdict of both"
        return [*rows, ("  agrees with rules", unknown), *usage]
    rows += agreement_rows(agreed, "  agrees with rules")
    for row in sorted(agreed["table"], key=lambda row: str(row["rule"])):
        said = ", ".join(f"{name} {row.get(name, 0)}" for name in ("right", "partly", "wrong"))
        rows.append((f"    rule: {row['rule']}", f"judge: {said}"))
    return rows + usage


def usage_rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a judge took, as rows of a table; none where its tokens are not known."""
    usage = figures.get("usage")
    if usage is None:
        return []
    cached = f" ({usage['cached_tokens']:,} of them cached)" if "cached_tokens" in usage else ""
    said = f"{usage['prompt_tokens']:,} tokens read{cached}, {usage['completion_tokens']:,} written"
    rows = [("  took", f"{said}, in {usage['replies']:,} replies")]
    if "cost" in usage:
        cost = usage["cost"]
        known = f"not known: no price for {figures['judge']}" if cost is None else f"{cost:.4g}"
        rows.append(("  cost", known))
    return rows


def agreement_rows(agreed: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """Agreement and kappa as rows of a table."""
    from ..tables import NO_INTERVAL, interval

    share, kappa = Rate(**agreed["share"]), agreed["kappa"]
    if kappa is None:
        said = "not known: one label only"
    elif isinstance(kappa, Mapping):
        said = f"{kappa['value']:.2f} (95 % interval {kappa['low']:.2f} to {kappa['high']:.2f})"
    else:
        said = f"{kappa:.2f} ({NO_INTERVAL})"
    return [(name, f"{interval(share)} of {share.n}"), ("    Cohen's kappa", said)]
