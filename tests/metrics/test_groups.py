"""Data sets that are resampled by group are drawn a few at a time."""

import tracemalloc

import numpy as np
import pytest

from medgym.metrics import groups
from medgym.metrics.groups import Groups


def test_resampling_takes_little_memory_however_many_groups_there_are() -> None:
    found = Groups(np.ones((3_000, 1)), np.ones(3_000))
    tracemalloc.start()
    try:
        found.resampled_means(np.random.default_rng(0), 700)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6


def test_how_many_are_drawn_at_once_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(1)
    for count in (3, 40, 901):
        found = Groups(drawn.random((count, 1)), drawn.integers(1, 6, count).astype(float))
        means = []
        for at_once in (4_000_000, 500_000, 20_000):
            monkeypatch.setattr(groups, "_AT_ONCE", at_once)
            means.append(found.resampled_means(np.random.default_rng(0), 500))
        assert np.array_equal(means[0], means[1])
        assert np.array_equal(means[0], means[2])
