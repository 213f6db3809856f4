"""Differences over seeds and cases, and how small a difference can be shown."""

import numpy as np
import pytest

from medgym.errors import UserError
from medgym.evals.statistics.power import power, smallest_difference
from medgym.evals.statistics.seeds import seeded_difference
from medgym.metrics.groups import Groups


def test_the_interval_holds_the_difference_of_recipes_whose_seeds_differ() -> None:
    """It would not where only cases were resampled: seeds move an accuracy by as much."""
    rng, held, by_cases = np.random.default_rng(0), 0, 0
    for _ in range(200):
        hard = 0.5 + np.repeat(rng.normal(0, 0.1, 40), 2)
        runs = [
            [(rng.random(80) < hard + rng.normal(0, 0.08)).astype(float).tolist() for _ in range(3)]
            for _ in range(2)
        ]
        found = seeded_difference(*runs, np.repeat(np.arange(40), 2).tolist())
        held += found.interval.low <= 0 <= found.interval.high
        by_cases += abs(found.interval.value) <= 2 * found.by_cases
    assert held >= 186
    assert by_cases < 180


def test_one_seed_and_other_cases_are_refused() -> None:
    with pytest.raises(UserError, match="one seed does not say"):
        seeded_difference([[1.0, 0.0]], [[1.0, 0.0], [1.0, 1.0]])
    with pytest.raises(UserError, match="not of the same cases"):
        seeded_difference([[1.0, 0.0], [1.0]], [[1.0, 0.0], [1.0, 1.0]])


def test_recipes_without_any_difference_tie() -> None:
    found = seeded_difference([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2)
    assert (found.outcome, found.p) == ("tie", 1.0)
    assert found.interval.low < -0.4, "two cases do not show that there is none"
    won = seeded_difference([[0.0] * 9] * 2, [[1.0] * 9] * 2)
    assert (won.outcome, won.p, won.interval.high) == ("win", 0.5**9, 1.0)
    assert won.interval.low < 0.5
    rounded = seeded_difference(
        [[0.1] * 7, [0.2] * 7, [0.7] * 7], [[0.3] * 7, [0.4] * 7, [0.6] * 7]
    )
    assert rounded.by_seeds > 0, "what rounding leaves of the cases is no variance"


@pytest.mark.parametrize(("cases", "discordant"), [(200, 0.2), (2000, 0.1), (50, 1.0)])
def test_the_smallest_difference_has_the_power_that_was_asked_for(
    cases: int, discordant: float
) -> None:
    gap = smallest_difference(cases, discordant)
    assert gap is not None
    found = power(cases, (discordant - gap) / 2, (discordant + gap) / 2)
    assert found == pytest.approx(0.8, abs=1e-6)


def test_too_few_cases_show_no_difference() -> None:
    assert smallest_difference(5, 0.2) is None
    assert smallest_difference(100, 0.0) is None


def test_alike_cases_of_a_group_count_as_one() -> None:
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.integers(-1, 2, 400), 5).astype(float).tolist()
    groups = np.repeat(np.arange(400), 5).tolist()
    assert Groups.of([alike], groups).independent(alike) == pytest.approx(400, rel=0.02)
    apart = rng.integers(-1, 2, 2000).astype(float).tolist()
    assert Groups.of([apart], groups).independent(apart) > 1600
