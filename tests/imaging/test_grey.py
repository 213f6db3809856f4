"""Windows and lookup tables, held against the formulae of the standard (PS3.3 C.11.2.1)."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.imaging.grey import PRESETS, LookupTable, Window, as_floats, full_window

numbers = st.floats(-1e5, 1e5)
widths = st.floats(1, 1e5) | st.integers(1, 4096).map(float)


def linear(x: float, c: float, w: float) -> float:
    """C.11.2.1.2.1, with the output range 0 to 255."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 255
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255


def linear_exact(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return 255
    return ((x - c) / w + 0.5) * 255


def sigmoid(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.1."""
    power = min(max(-4 * (x - c) / w, -700), 700)
    return 255 / (1 + math.exp(power))


FORMULAE = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


@pytest.mark.parametrize("function", FORMULAE)
@given(st.lists(numbers, min_size=1, max_size=9), numbers, widths, st.booleans())
def test_each_function_is_that_of_the_standard(
    function: Any, values: list[float], centre: float, width: float, inverted: bool
) -> None:
    got = Window(centre, width, function, inverted).greys(np.array(values))
    for value, level in zip(values, got.tolist(), strict=True):
        want = FORMULAE[function](value, centre, width)
        assert abs(level - (255 - want if inverted else want)) <= 0.5 + 1e-6


def test_the_numbers_of_the_standard() -> None:
    """LINEAR: "Window Center 2048, Window Width 4096: 0 to 4095"; width 1 is a threshold."""
    assert Window(2048, 4096, "LINEAR").greys(np.array([0, 4095])).tolist() == [0, 255]
    assert Window(1, 1, "LINEAR").greys(np.array([0, 0.5, 0.6, 1])).tolist() == [0, 0, 255, 255]
    ramp = np.array([0, 1024, 2048, 3072, 4095])
    assert Window(2048, 2048, "SIGMOID").greys(ramp).tolist() == [5, 30, 128, 225, 250]


@given(st.integers(-50, 50), st.binary(min_size=1, max_size=20), st.integers(-99, 99))
def test_a_table_has_its_ends_before_and_behind_it(first: int, levels: bytes, value: int) -> None:
    got = LookupTable(first, levels).greys(np.array([[value]]))
    place = min(max(value - first, 0), len(levels) - 1)
    assert got.tolist() == [[levels[place]]]
    turned = LookupTable(first, levels, inverted=True).greys(np.array([[value]]))
    assert turned.tolist() == [[255 - levels[place]]]


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    "shown",
    [Window(0, 1), Window(0, 1, "LINEAR"), Window(0, 9, "SIGMOID"), LookupTable(0, b"\x09\xff")],
)
def test_what_is_no_number_is_black(shown: Any, inverted: bool) -> None:
    turned = type(shown)(**{**vars(shown), "inverted": inverted})
    low, unknown, high = turned.greys(np.array([[-np.inf, np.nan, np.inf]], np.float32))[0]
    assert unknown == 0
    assert (low > high) == inverted


@given(st.sampled_from([0.0, 1.0, 255.0, 3000.0, -1024.0, 2.0**31, 1e-30, 1e300]), st.booleans())
def test_an_image_of_one_value_is_black(value: float, inverted: bool) -> None:
    values = np.full((2, 3), value)
    assert (full_window(values, inverted=inverted).greys(values) == 0).all()


def test_hidden_values_count_in_no_window() -> None:
    values, hidden = np.array([[-2000, 0, 40]]), np.array([[True, False, False]])
    assert full_window(values, hidden) == Window(20, 40)


@pytest.mark.parametrize("offset", [0, 2**31, 2**40, -(2**31)])
def test_levels_are_kept_however_large_the_values_are(offset: int) -> None:
    values = as_floats(np.arange(64, dtype=np.int64).reshape(1, 64) + offset)
    got = full_window(values).greys(values)
    assert got.tolist() == np.rint(np.arange(64) * (255 / 63)).reshape(1, 64).tolist()
    assert values.dtype == (np.float32 if offset == 0 else np.float64)


def test_whole_numbers_that_no_float_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="2\\^53"):
        as_floats(np.array([[0, 2**60]]))


def test_presets_are_windows_of_hounsfield_units() -> None:
    assert set(PRESETS) == {"lung", "bone", "brain", "soft tissue", "liver", "mediastinum"}
    assert PRESETS["lung"].greys(np.array([-1350, -600, 150])).tolist() == [0, 128, 255]
