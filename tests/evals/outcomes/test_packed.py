"""Rows of many cases in little memory, and the figures that are made of them."""

import random
import tracemalloc
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.evals.breakdown.results import breakdown
from medgym.evals.comparison import paired
from medgym.evals.outcomes import packed, table
from medgym.evals.outcomes.columns import NumberColumns
from medgym.evals.outcomes.figures import further
from medgym.evals.outcomes.outcome import CaseOutcome, outcome_of
from medgym.evals.outcomes.packed import PackedRows, in_order
from medgym.evals.outcomes.table import read_outcomes, write_outcomes
from medgym.rollout import collect

FEW, MANY = 300, 900


@pytest.fixture(scope="module")
def one() -> CaseOutcome:
    cases = open_cases("phantom,look=ct,size=256:test[:1]")
    (played,) = collect(cases, "scripted:oracle", Rules(view_size=64))
    return replace(outcome_of(cases[0], played), look_iou=None, look_coverage=None)


def outcomes(one: CaseOutcome, count: int) -> PackedRows[CaseOutcome]:
    """So many, each of a case and a group of its own."""
    return PackedRows(
        replace(one, case=f"phantom/test/{n:050}", group=f"test/{n:050}") for n in range(count)
    )


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were ten times the cases."""
    monkeypatch.setattr(packed, "SORTED", 64)
    monkeypatch.setattr(packed, "MERGED", 4)
    monkeypatch.setattr(table, "ROW_GROUP", 64)


def grown(made: Callable[[int], object]) -> float:
    """By how many bytes a case the peak of some work grows."""
    peaks = []
    for count in (FEW, MANY):
        tracemalloc.start()
        try:
            made(count)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return (peaks[1] - peaks[0]) / (MANY - FEW)


def test_rows_come_in_order_and_equal_ones_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SORTED", 16)
    monkeypatch.setattr(packed, "MERGED", 3)
    drawn = random.Random(0)
    for count in (0, 1, 16, 17, 200):
        rows = [(drawn.randrange(9), place) for place in range(count)]
        assert [*in_order(iter(rows))] == sorted(rows)
        assert [*in_order(rows, key=itemgetter(0))] == sorted(rows, key=itemgetter(0))


def test_joined_rows_are_those_of_all_parts() -> None:
    parts = [range(300), range(0), range(5)]
    whole = PackedRows.joined(PackedRows(part) for part in parts)
    whole.add(7)
    assert [*whole] == [*range(300), *range(5), 7]
    assert len(whole) == 306
    assert whole == [*range(300), *range(5), 7]
    assert whole != [*whole][::-1]


def test_columns_hold_numbers_and_tell_units_apart() -> None:
    columns = NumberColumns([(("a", "b"), 1, None), (("a", "c"), True, 0.5), (("a", "b"), 0, 2)], 2)
    assert columns.values[0].tolist() == [1, 1, 0]
    assert columns.values[1][1:].tolist() == [0.5, 2]
    first, second, third = columns.groups()
    assert first == third != second
    assert NumberColumns([], 3).values.shape == (3, 0)


@pytest.mark.usefixtures("small_parts")
def test_figures_hold_no_names_of_cases(one: CaseOutcome) -> None:
    made = {count: outcomes(one, count) for count in (FEW, MANY)}
    figures: list[Callable[[Collection[CaseOutcome]], object]] = [further, breakdown]
    for figure in figures:
        assert grown(lambda count, figure=figure: figure(made[count])) < 150


@pytest.mark.usefixtures("small_parts")
def test_stored_outcomes_are_read_and_compared_packed(one: CaseOutcome, tmp_path: Path) -> None:
    for count in (FEW, MANY):
        write_outcomes(tmp_path / str(count), outcomes(one, count))
    read = {count: read_outcomes(tmp_path / str(count)) or PackedRows() for count in (FEW, MANY)}
    assert read[FEW] == outcomes(one, FEW)
    assert grown(lambda count: read_outcomes(tmp_path / str(count))) < 100
    pairs = {count: (read[count], read[count], ("a", "b")) for count in (FEW, MANY)}
    assert grown(lambda count: deque(paired(*pairs[count]), maxlen=0)) < 220


@pytest.mark.usefixtures("small_parts")
def test_the_keys_of_a_table_are_in_order(one: CaseOutcome, tmp_path: Path) -> None:
    rows = [*outcomes(one, FEW)]
    random.Random(0).shuffle(rows)
    write_outcomes(tmp_path, rows)
    keys = [each.key for each in read_outcomes(tmp_path) or ()]
    assert len(keys) == len(rows)
    assert all(before < after for before, after in pairwise(keys))
