"""Figures of looking: of right and of wrong answers, which share had seen the gold region."""

from dataclasses import replace
from pathlib import Path

import pytest

from medgym.evals.looking.figures import (
    BEYOND,
    BLIND,
    FAILED,
    NEEDED,
    REPEATED,
    RIGHT_SHOWN,
    WRONG_PLACE,
    WRONG_SHOWN,
    looking_figures,
)
from medgym.evals.outcomes.figures import further, summary
from medgym.evals.outcomes.outcome import CaseOutcome
from medgym.evals.outcomes.table import read_outcomes, write_outcomes
from medgym.metrics.rate import Rate

ONE = CaseOutcome(
    benchmark="", case="a/0", case_hash="h", source="a", group="g0", answer_type="choice",
    modality=None, body_part=None, language="en", member=0, scorer="choice", version="1", gold="A",
    answer="A", verdict="right", score=1.0, lenient_verdict="right", lenient_score=1.0, reward=1.0,
    looked=True, hit=True, turns=2, calls=1, tokens=0, look_iou=0.5, look_coverage=1.0,
    calls_needed=1, looks=1, repeated_looks=0,
)  # fmt: skip


def some(**counts: int) -> list[CaseOutcome]:
    kinds = {
        "seen": {},
        "elsewhere": {"hit": False, "look_iou": 0.0, "look_coverage": 0.0},
        "blind": {"hit": False, "looked": False, "calls": 0, "looks": 0, "look_iou": 0.0},
        "wrong_seen": {"verdict": "wrong", "score": 0.0},
        "wrong_elsewhere": {"verdict": "wrong", "score": 0.0, "hit": False},
        "unmarked": {"hit": None, "look_iou": None, "look_coverage": None, "calls_needed": None},
    }  # type: dict[str, dict[str, object]]
    made = [replace(ONE, **kinds[k]) for k, count in counts.items() for _ in range(count)]  # type: ignore[arg-type]
    return [replace(each, case=f"a/{i}", group=f"g{i}") for i, each in enumerate(made)]


def rate(figure: object) -> tuple[float, int]:
    assert isinstance(figure, Rate)
    assert figure.low <= figure.value <= figure.high
    return round(figure.value, 4), figure.n


def test_right_and_wrong_answers_are_told_apart_by_what_was_seen() -> None:
    found = looking_figures(
        some(seen=6, elsewhere=3, blind=1, wrong_seen=1, wrong_elsewhere=3, unmarked=5)
    )
    assert rate(found[RIGHT_SHOWN]) == (0.6, 10)
    assert rate(found[WRONG_PLACE]) == (0.3, 10)
    assert rate(found[BLIND]) == (0.1, 10)
    assert rate(found[WRONG_SHOWN]) == (0.25, 4)


def test_calls_are_held_against_those_needed() -> None:
    wasteful = replace(ONE, calls=4, looks=3, repeated_looks=1, call_faults="name")
    found = looking_figures([replace(wasteful, case=f"a/{i}", group=f"g{i}") for i in range(5)])
    assert found[NEEDED] == 1
    assert rate(found[BEYOND]) == (0.75, 20)
    assert rate(found[REPEATED]) == (0.3333, 15)
    assert rate(found[FAILED]) == rate(found[f"{FAILED}: name"]) == (0.25, 20)
    assert f"{FAILED}: value" not in found


def test_shares_of_calls_have_intervals_over_groups() -> None:
    wasteful = replace(ONE, calls=10, looks=10, repeated_looks=5)
    made = [replace(wasteful, case=f"a/{i}", repeated_looks=10 * (i % 2)) for i in range(10)]
    apart = looking_figures([replace(o, group=f"g{i}") for i, o in enumerate(made)])[REPEATED]
    alike = looking_figures([replace(o, repeated_looks=5) for o in made])[REPEATED]
    assert rate(apart) == rate(alike) == (0.5, 100)
    assert isinstance(apart, Rate)
    assert apart.high - apart.low > 0.5, "ten groups that differ are no hundred looks"


def test_where_nobody_looks_there_is_nothing_to_say() -> None:
    assert looking_figures(some(blind=4)) == {}


def test_they_are_in_results_and_in_what_score_prints() -> None:
    outcomes = some(seen=3, wrong_seen=2)
    assert further(outcomes)[RIGHT_SHOWN] == looking_figures(outcomes)[RIGHT_SHOWN]
    assert summary(outcomes)[WRONG_SHOWN]["n"] == 2
    assert summary(outcomes)[NEEDED] == 1


def test_the_columns_are_stored_and_may_be_missing(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    outcomes = [replace(each, call_faults="name,late") for each in some(seen=2)]
    path = write_outcomes(tmp_path, outcomes)
    assert read_outcomes(tmp_path) == outcomes
    new = ["look_iou", "look_coverage", "calls_needed", "looks", "repeated_looks", "call_faults"]
    parquet.write_table(parquet.read_table(path).drop_columns(new), path)
    old = read_outcomes(tmp_path)
    assert old is not None
    assert all(name not in looking_figures(old) for name in (NEEDED, REPEATED, FAILED))
