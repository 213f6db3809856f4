"""The lattice: windows of one size at even places, and the one that holds a box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.agents.scripted.windows import Lattice
from medgym.errors import UserError

lattices = st.builds(Lattice, st.integers(1, 1000), st.integers(2, 20))


@given(lattices)
def test_windows_lie_in_the_view(lattice: Lattice) -> None:
    assert lattice.starts[0] == 0
    assert lattice.starts[-1] == 1000 - lattice.window
    assert list(lattice.starts) == sorted(lattice.starts)
    x0, y0, x1, y1 = lattice.box(lattice.steps - 1, 0)
    assert (x0, y0, x1, y1) == (1000 - lattice.window, 0, 1000, lattice.window)


@given(lattices, st.tuples(*[st.floats(0, 1000)] * 4))
def test_the_window_around_a_box_holds_it(lattice: Lattice, edges: tuple[float, ...]) -> None:
    (x0, x1), (y0, y1) = sorted(edges[:2]), sorted(edges[2:])
    if x1 - x0 < 0.01 or y1 - y0 < 0.01:
        return
    box = lattice.around((x0, y0, x1, y1))
    assert all(isinstance(value, int) and 0 <= value <= 1000 for value in box)
    assert box[0] < box[2]
    assert box[1] < box[3]
    assert box[0] <= x0 + 0.5
    assert box[1] <= y0 + 0.5
    assert box[2] >= x1 - 0.5
    assert box[3] >= y1 - 0.5


def test_the_nearest_window_is_taken() -> None:
    lattice = Lattice(250, 4)
    assert lattice.starts == (0, 250, 500, 750)
    assert lattice.around((260, 510, 300, 560)) == [250, 500, 500, 750]
    assert lattice.around((100, 100, 400, 400)) == [100, 100, 400, 400]  # no window holds it


def test_random_windows_are_spread_evenly_and_repeat() -> None:
    lattice = Lattice(250, 3)
    drawn = [tuple(lattice.random(np.random.default_rng(seed))) for seed in range(900)]
    assert len(set(drawn)) == 9
    assert min(drawn.count(box) for box in set(drawn)) > 60
    assert lattice.random(np.random.default_rng(0)) == list(drawn[0])


@pytest.mark.parametrize(("window", "steps"), [(0, 8), (1001, 8), (-5, 8), (250, 1), (250, 0)])
def test_an_impossible_lattice_is_refused(window: int, steps: int) -> None:
    with pytest.raises(UserError, match="fix: "):
        Lattice(window, steps)
