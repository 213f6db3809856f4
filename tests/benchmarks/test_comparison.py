"""Rows: both sides in turns, medians, ratios, and how they are printed."""

import pytest

from medgym.benchmarks.comparison import Comparison, figure, in_turns, print_comparisons


def test_a_row_as_json() -> None:
    row = Comparison("a.b", 6.0, "ms", "Pillow", 4.0)
    assert row.plain() == {
        "metric": "a.b", "value": 6.0, "unit": "ms", "rival": "Pillow", "rival_value": 4.0,
        "ratio": 1.5,
    }  # fmt: skip


def test_both_sides_take_turns_and_the_median_counts() -> None:
    order: list[str] = []
    figures = {"ours": iter([1.0, 100.0, 2.0]), "rival": iter([5.0, 4.0, 900.0])}

    def side(name: str) -> float:
        order.append(name)
        return next(figures[name])

    assert in_turns("", lambda: side("ours"), lambda: side("rival"), 3) == (2.0, 5.0)
    assert order == ["ours", "rival"] * 3


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "1,234"), (12.345, "12.3"), (0.001234, "0.00123"), (4.0, "4")]
)
def test_three_digits_tell(value: float, shown: str) -> None:
    assert figure(value) == shown


def test_the_table_names_the_rival_and_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparisons(
        [Comparison("env.zoom", 1.5, "ms", "Pillow: crop and resize", 1.0)], "a machine, 2 cores"
    )
    shown = capsys.readouterr().out
    for part in ("env.zoom", "1.5", "ms", "Pillow: crop and resize", "a machine, 2 cores"):
        assert part in shown
