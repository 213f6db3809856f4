"""What an evaluation of hallucination comes to: its labels, and the figures of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from medgym.cases import Case
from medgym.metrics.mean_rate import mean_rate
from medgym.metrics.rate import Rate
from medgym.trajectory import Trajectory

from ..model_judge.asking import Asked, ModelJudge
from ..model_judge.prompt import data_of
from ..model_judge.replies import JudgeRequest
from ..outcomes.answer_text import answer_text
from ..outcomes.outcome import CaseOutcome
from ..statistics.agreement import agreement
from .contradictions import CONTRADICTIONS, contradictions
from .labels import rule_levels, statements
from .levels import CORRECT, PROMPT_INDUCED, SCORES, medihall
from .not_there import FORMS, is_as_if_there
from .own_words import chosen_answer, final_answer
from .phantom_facts import facts_of

Unit = tuple[str, str]


@dataclass(frozen=True)
class Labelled:
    """An answer, and the level of each of its statements.

    Attributes:
        case, member, unit: whose it is.
        is_phantom: whether it is of a phantom, whose statements rules label.
        said: its statements. rules: the level of each by rules. requests: what a judge is asked.
        contradictions: which could have occurred, and did.
    """

    case: str
    member: int
    unit: Unit
    is_phantom: bool
    said: tuple[str, ...]
    rules: tuple[str | None, ...]
    requests: tuple[JudgeRequest, ...]
    contradictions: dict[str, bool]

    @property
    def place(self) -> tuple[Unit, str, int]:
        """Its place in an order that does not depend on when an episode was over."""
        return self.unit, self.case, self.member


@dataclass(frozen=True)
class AskedNotThere:
    """An answer to a question about what is not there.

    Attributes:
        form: of the question. chosen: what was answered; None where that cannot be read.
        as_if_there: whether it is answered as if it were there.
    """

    case: str
    member: int
    unit: Unit
    form: str
    chosen: str | None
    as_if_there: bool

    @property
    def place(self) -> tuple[Unit, str, int]:
        """As of `Labelled`."""
        return self.unit, self.case, self.member


def labelled(case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> Labelled | None:
    """The labels of an answer by rules; None where the figures do not count the episode."""
    if not outcome.is_counted:
        return None
    text = answer_text(case, trajectory)
    said = statements(case, text)
    rules = rule_levels(case, outcome, text)
    requests = tuple(
        JudgeRequest(
            case.id, outcome.case_hash, each,
            data_of(case.question, case.options, case.golds, statement=each),
        )
        for each in said
    )  # fmt: skip
    return Labelled(
        case.id, outcome.member, outcome.unit, facts_of(case) is not None, tuple(said),
        tuple(rules), requests, contradictions(case, trajectory, outcome),
    )  # fmt: skip


def asked_not_there(
    case: Case, trajectory: Trajectory, outcome: CaseOutcome, form: str
) -> AskedNotThere | None:
    """What became of a question about what is not there; None where it is not counted."""
    if not outcome.is_counted:
        return None
    chosen = chosen_answer(case, final_answer(trajectory))
    return AskedNotThere(
        case.id, outcome.member, outcome.unit, form, chosen, is_as_if_there(case, chosen)
    )


def judged_labels(answers: Sequence[Labelled], judge: ModelJudge) -> Asked:
    """What a judge says of the statements that it is to label: of phantoms those that rules label,
    to compare the two; of other cases those of answers that are not right.

    Raises:
        UserError, RunError: as of `ModelJudge.ask`.
    """
    return judge.ask([request for each in answers for request in _for_judge(each)])


def _for_judge(answer: Labelled) -> list[JudgeRequest]:
    if answer.is_phantom:
        pairs = zip(answer.requests, answer.rules, strict=True)
        return [request for request, rule in pairs if rule is not None]
    return [] if answer.rules == (CORRECT,) else list(answer.requests)


def hallucination_figures(
    answers: Iterable[Labelled],
    not_there: Iterable[AskedNotThere] = (),
    judge: ModelJudge | None = None,
    asked: Asked | None = None,
) -> dict[str, Any]:
    """The figures of an evaluation of hallucination, with 95 % intervals over groups.

    Args:
        judge, asked: who labelled, and what it said, where there is a judge.
    """
    in_order = sorted(answers, key=lambda each: each.place)
    phantoms = [each for each in in_order if each.is_phantom]
    others = [each for each in in_order if not each.is_phantom]
    found: dict[str, Any] = {}
    if phantoms:
        found["phantoms, by rules"] = _levels([(each, each.rules) for each in phantoms])
    if others and (judge is None or asked is None):
        found["answers that only a judge can label"] = sum(
            each.rules != (CORRECT,) for each in others
        )
    if judge is not None and asked is not None:
        if others:
            labels = [(each, _labels(each, judge, asked)) for each in others]
            found["other cases, by the judge"] = _levels(labels)
        spent = judge.spent(sorted({*asked.labels, *asked.missing})).as_dict()
        found["judge"] = judge.as_dict() | _compared(phantoms, judge, asked) | spent
    if rows := _not_there(not_there):
        found["not there"] = rows
    found["contradictions"] = _contradictions(in_order)
    return found


def _labels(answer: Labelled, judge: ModelJudge, asked: Asked) -> tuple[str | None, ...]:
    """The levels of the statements of an answer that is no phantom's."""
    if answer.rules == (CORRECT,):
        return answer.rules
    return tuple(asked.labels.get(judge.key(request)) for request in answer.requests)


def _levels(pairs: Sequence[tuple[Labelled, Sequence[str | None]]]) -> dict[str, Any]:
    scored = [
        (answer, score) for answer, levels in pairs if (score := medihall(levels)) is not None
    ]
    flat = [(answer.unit, level) for answer, levels in pairs for level in levels]
    with_level = [(unit, level) for unit, level in flat if level is not None]
    units = [unit for unit, _ in with_level]
    found: dict[str, Any] = {
        "MediHall": _mean([score for _, score in scored], [each.unit for each, _ in scored]),
        "levels": [
            {
                "level": name,
                "statements": sum(level == name for _, level in with_level),
                "share": Rate.of([level == name for _, level in with_level], units).as_dict(),
            }
            for name in SCORES
        ],
    }
    if left := len(flat) - len(with_level):
        found["statements without a level"] = left
    if silent := sum(not answer.said for answer, _ in pairs):
        found["nothing said"] = silent
    return found


def _mean(scores: Sequence[float], units: Sequence[Unit]) -> dict[str, float] | None:
    """The mean of scores from 0 to 1; None where there are none."""
    return mean_rate(scores, units).as_dict() if scores else None


def _compared(phantoms: Sequence[Labelled], judge: ModelJudge, asked: Asked) -> dict[str, Any]:
    """How far the judge agrees with the rules on phantoms, and how often it gave no label."""
    both = [
        (rule, label, each.unit)
        for each in phantoms
        for request, rule in zip(each.requests, each.rules, strict=True)
        if rule is not None and (label := asked.labels.get(judge.key(request))) is not None
    ]
    agreed = agreement(
        [rule for rule, _, _ in both],
        [label for _, label, _ in both],
        [unit for _, _, unit in both],
    )
    found: dict[str, Any] = {"agreement": None if agreed is None else agreed.as_dict()}
    if asked.missing:
        found["no label"] = dict(Counter(asked.missing.values()).most_common())
    return found


def _not_there(not_there: Iterable[AskedNotThere]) -> list[dict[str, Any]]:
    """For each form of question, how many of the answers that can be read are given as if it were
    there. Who says nothing that can be read does not look the better for it."""
    rows = []
    in_order = sorted(not_there, key=lambda each: each.place)
    for form in FORMS:
        asked = [each for each in in_order if each.form == form]
        if asked:
            read = [each for each in asked if each.chosen is not None]
            share = Rate.of([each.as_if_there for each in read], [each.unit for each in read])
            left = len(asked) - len(read)
            rows.append({"asked for": form, "as if there": share.as_dict(), "not read": left})
    return rows


def _contradictions(answers: Sequence[Labelled]) -> list[dict[str, Any]]:
    """For each contradiction, its share of the episodes in which it could have occurred."""
    rows = []
    for name in CONTRADICTIONS:
        seen = [
            (each.contradictions[name], each.unit)
            for each in answers
            if name in each.contradictions
        ]
        if seen:
            rate = Rate.of([value for value, _ in seen], [unit for _, unit in seen])
            rows.append({"contradiction": name, "share": rate.as_dict()})
    return rows


def level_rows(
    answers: Sequence[Labelled],
    not_there: Sequence[AskedNotThere],
    judge: ModelJudge | None,
    asked: Asked | None,
) -> list[dict[str, Any]]:
    """A row for each statement, with its level and what gave it, and for each question about what
    is not there."""
    rows: list[dict[str, Any]] = []
    for each in sorted(answers, key=lambda each: each.place):
        for said, rule, request in zip(each.said, each.rules, each.requests, strict=True):
            label = None
            if judge is not None and asked is not None:
                label = asked.labels.get(judge.key(request))
            rows.append({
                "case": each.case, "member": each.member, "said": said, "by_rules": rule,
                "by_judge": label,
                "contradictions": [name for name, did in each.contradictions.items() if did],
            })  # fmt: skip
    for one in sorted(not_there, key=lambda each: each.place):
        level = PROMPT_INDUCED if one.as_if_there else CORRECT if one.chosen is not None else None
        rows.append(
            {"case": one.case, "member": one.member, "said": one.chosen, "by_rules": level,
             "asked_for": one.form}
        )  # fmt: skip
    return rows
