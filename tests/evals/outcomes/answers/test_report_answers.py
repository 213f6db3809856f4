"""Figures of reports: what each one's columns are, and what all of them come to."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from medgym.cases import Case
from medgym.errors import UserError
from medgym.evals.answer_tables import missing_lines
from medgym.evals.outcomes.answers import labelled_reports
from medgym.evals.outcomes.answers.labelled_reports import LabelledReports
from medgym.evals.outcomes.answers.report_answers import report_figures
from medgym.evals.outcomes.figures import further, summary
from medgym.evals.outcomes.outcome import CaseOutcome, outcome_of
from medgym.evals.outcomes.table import read_outcomes, write_outcomes
from medgym.evals.scorers.report import by_words
from medgym.evals.statistics.sums import figure_interval
from medgym.metrics.intervals import Interval
from medgym.trajectory import Node, Trajectory

GOLDS = (
    "The heart is normal in size. No pleural effusion.",
    "The heart is enlarged. There is a small left pleural effusion.",
    "Right lower lobe opacity. No pneumothorax.",
    "No acute cardiopulmonary abnormality is seen today.",
)
ANSWERS = (
    "The heart is normal in size. No pleural effusion.",
    "The heart is enlarged. No pleural effusion.",
    "There is a left lower lobe opacity.",
    None,
)


def played(number: int, answer: str | None, gold: str, language: str = "en") -> CaseOutcome:
    case = Case(
        id=f"own/test/{number}", images=(), question="?", answer=gold, answer_type="report",
        group=f"p{number // 2}", source="own", split="test", language=language,
    )  # fmt: skip
    nodes = (Node(-1, "user", "?"), Node(0, "assistant", answer or ""))
    return outcome_of(
        case, Trajectory(case.id, "x", 0, 0, "text", nodes, answer=answer, reward=0.0)
    )


@pytest.fixture(scope="module")
def outcomes() -> Sequence[CaseOutcome]:
    pairs = zip(ANSWERS, GOLDS, strict=True)
    return [played(number, *pair) for number, pair in enumerate(pairs)]


def test_each_report_has_its_columns(outcomes: Sequence[CaseOutcome]) -> None:
    assert [each.verdict for each in outcomes] == ["right", "wrong", "wrong", "unanswered"]
    assert [each.triplet_f1 for each in outcomes] == pytest.approx([1, 0.5, 0, 0])
    assert [each.triplet_precision for each in outcomes] == pytest.approx([1, 0.5, 0, 0])
    assert outcomes[0].bleu == outcomes[0].rouge1 == pytest.approx(1)
    assert outcomes[3].rouge_l == 0


def test_figures_have_intervals_and_bleu_is_of_all_reports_together(
    outcomes: Sequence[CaseOutcome],
) -> None:
    found = report_figures(outcomes)
    assert found["report, F1 of statements"].value == pytest.approx(1.5 / 4)
    assert found["report, triplet F1"].n == 4
    whole = BLEU().corpus_score([answer or "" for answer in ANSWERS], [list(GOLDS)])
    bleu = found["report, corpus BLEU (13a)"]
    assert bleu.value == pytest.approx(whole.score / 100)
    assert 0 <= bleu.low < bleu.value < bleu.high <= 1
    assert report_figures(list(reversed(outcomes))) == found  # the order never changes a digit
    assert summary(outcomes)["report, triplet F1"] == found["report, triplet F1"].as_dict()
    assert further(outcomes)["report, corpus BLEU (13a)"] == bleu
    assert report_figures([replace(each, scorer="open") for each in outcomes]) == {}


def test_a_figure_of_100_percent_has_an_interval(outcomes: Sequence[CaseOutcome]) -> None:
    """A bootstrap of equal values has none: 100.0 to 100.0 of two reports said too much."""
    right = [played(number, GOLDS[0], GOLDS[0]) for number in (0, 2)]
    for name in ("report, F1 of statements", "report, triplet F1", "report, ROUGE-1"):
        found = report_figures(right)[name]
        assert (found.value, found.high) == (1, 1)
        assert found.low < 0.5


def test_languages_have_figures_of_their_own(outcomes: Sequence[CaseOutcome]) -> None:
    chinese = played(8, "双肺未见异常。", "双肺未见异常。心影不大。")
    assert chinese.triplet_f1 is None
    found = report_figures([*outcomes, chinese])
    assert found["report, triplet F1"].n == 4
    assert found["report, corpus BLEU (zh)"].n == 1
    assert (
        found["report, corpus BLEU (13a)"] == report_figures(outcomes)["report, corpus BLEU (13a)"]
    )


def test_outcomes_of_reports_are_read_as_they_were_written(
    tmp_path: Path, outcomes: Sequence[CaseOutcome]
) -> None:
    write_outcomes(tmp_path, outcomes)
    kept = read_outcomes(tmp_path)
    assert kept is not None
    assert kept == outcomes
    assert report_figures(kept) == report_figures(outcomes)


def test_without_the_libraries_one_line_names_the_extra(
    outcomes: Sequence[CaseOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = report_figures(outcomes)
    assert missing_lines([figures]) == []
    monkeypatch.setattr(by_words, "is_installed", lambda: False)
    (line,) = missing_lines([{}, figures])
    assert "pip install 'medgym[metrics]'" in line
    assert missing_lines([{}]) == []


def test_labellers_are_given_the_reports_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def labeller(reports: list[str], golds: list[str], groups: list[object]) -> dict[str, Interval]:
        seen.append((reports, golds, len(groups)))
        return {"report, X": Interval(0.5, 0.2, 0.7, len(reports), len(groups))}

    monkeypatch.setattr(labelled_reports, "load_labeller", lambda name: labeller)
    gathered = LabelledReports("radgraph")
    for number, (gold, said) in enumerate((("No mass.", "Mass."), ("双肺未见异常。", "双肺"))):
        case = Case(
            id=f"own/test/{number}", images=(), question="?", answer=gold, group="g",
            answer_type="report", source="own", split="test",
        )  # fmt: skip
        trajectory = Trajectory(case.id, "x", 0, 0, "text", (), answer=said, reward=0.0)
        gathered.add(case, trajectory, outcome_of(case, trajectory))
    assert gathered.figures("") == {
        "report, X": {"value": 0.5, "low": 0.2, "high": 0.7, "n": 1},
        "left out by the labellers: not English": 1,
    }
    assert seen == [(["Mass."], ["No mass."], 1)]
    assert gathered.figures("another") == {}


@pytest.mark.parametrize("names", ["", " , ", "radgraph", "bleurt"])
def test_labellers_that_are_not_there_are_one_line(names: str) -> None:
    with pytest.raises(UserError, match="labeller"):
        LabelledReports(names)


def test_an_interval_of_sums_holds_the_truth() -> None:
    """Micro F1 of cases in groups, in 120 data sets: the interval holds the true one in 95 %."""
    rng = np.random.default_rng(0)
    truth, held = 2 * 0.3 / (0.5 + 0.6), 0
    for _ in range(120):
        ease = np.repeat(rng.normal(0, 0.1, 40), 3)
        shared = rng.random(120) < np.clip(0.3 + ease, 0, 1)
        said = shared | (rng.random(120) < (0.5 - 0.3) / 0.7)
        wanted = shared | (rng.random(120) < (0.6 - 0.3) / 0.7)
        found = figure_interval(
            [shared.tolist(), (said.astype(int) + wanted).tolist()],
            [number // 3 for number in range(120)],
            lambda sums: 2 * sums[:, 0] / sums[:, 1],
            resamples=200,
        )
        held += found.low <= truth <= found.high
    assert 0.89 <= held / 120 <= 0.99
