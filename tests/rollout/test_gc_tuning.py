"""The search for garbage is rarer meanwhile, and as it was afterwards."""

import gc
from collections.abc import Iterator

import pytest

from medgym.rollout.gc_tuning import RARELY, searched_rarely


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_is_rarer_meanwhile() -> None:
    before = gc.get_threshold()
    with searched_rarely():
        assert gc.get_threshold() == (RARELY, *before[1:])
    assert gc.get_threshold() == before


@pytest.mark.parametrize("chosen", [0, 10 * RARELY])
def test_whoever_chose_otherwise_is_obeyed(chosen: int) -> None:
    gc.set_threshold(chosen)
    with searched_rarely():
        assert gc.get_threshold()[0] == chosen
    assert gc.get_threshold()[0] == chosen
