"""Arithmetic on a line of text: right where it is arithmetic, and an observation elsewhere."""

import contextlib
import math
import random

import pytest

from medgym.errors import ToolError
from medgym.tools.calculate.arithmetic import FUNCTIONS, LONGEST, evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("-2 ** 2", -4), ("2 ** -1", 0.5), ("7 / 2", 3.5),
        ("4 / 3 * pi * 1.5 ** 3", 14.137166941154069), ("1.5e3 - 1e-3", 1499.999), ("+.5", 0.5),
        ("sqrt(16) + abs(-2)", 6), ("log(e)", 1), ("log10(1000)", 3), ("log2(8)", 3),
        ("exp(0)", 1), ("sin(pi / 2)", 1), ("cos(0)", 1), ("tan(0)", 0),
        ("min(3, 1, 2)", 1), ("max(3, 1, 2)", 3), ("mean(1, 2, 6)", 3),
        ("round(2.567, 1)", 2.6), ("round(1234, -2)", 1200), ("round(2.4)", 2),
        ("0.001 ** 200", 0.0), ("  1  ", 1),
    ],
)  # fmt: skip
def test_it_calculates(text: str, value: float) -> None:
    assert evaluate(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9**9**9", "9 ** 9 ** 9 is too large"), ("9**9**9**9**9", "too large"),
        ("1e999", "too large"), ("1e200 * 1e200", "1e+200 * 1e+200 is too large"),
        ("exp(1000)", "too large"), ("1e308 * 10 - 1e308 * 10", "too large"),
        ("1 / 0", "division by zero"), ("0 ** -1", "division by zero"),
        ("(-8) ** (1 / 3)", "no real number"), ("sqrt(-1)", "no real number"),
        ("log(0)", "no real number"), ("nan", "nan cannot be calculated"),
        ("inf - inf", "cannot be calculated"), ("5 // 2", "cannot be calculated"),
        ("12 ^ 2", "the sign '^'"), ("10 %", "the sign '%'"), ("3 mm", "no expression"),
        ("3mm", "'3m' is neither a number nor a name"), ("0x1f", "'0x' is neither"),
        ("1_000", "'1_' is neither"), ("", "an empty expression"), ("  ", "an empty expression"),
        ("2(3)", "cannot be calculated"), ("sqrt(1, 2)", "expected one number"),
        ("max()", "expected one or more numbers"), ("round(1.5, 0.5)", "as a whole number"),
        ("round(1, 400)", "as a whole number"), ("sqroot(4)", "there is no function 'sqroot'"),
        ("pi.real", "cannot be calculated"), ("True", "cannot be calculated"), ("1j", "neither"),
        ("1, 2", "cannot be"), ("lambda x", "no expression"), ("1 if 1 else 2", "can"),
        ("(" * 250 + "1", "no expression"), ("-" * 250 + "1", "nested deeper"),
        ("__import__", "cannot be calculated"), ("abs(*x)", "cannot be calculated"),
        ("1" * (LONGEST + 1), "301 characters; expected 300 at most"),
        ("1 +", "no expression"), ("\x00", "the sign '\\x00'"), ("é", "the sign 'é'"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_said(text: str, said: str) -> None:
    with pytest.raises(ToolError) as error:
        evaluate(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


ATOMS = ("1", "9", "0.5", "1e300", "pi", "e", "x", "()", "9**9", "-1", "1.", "é", *FUNCTIONS)
SIGNS = (" ", "+", "-", "*", "/", "**", "(", ")", ",", ".", "(9,", "e", "_", "%", "[", "\n")


def test_any_text_has_a_finite_value_or_is_refused() -> None:
    rng = random.Random(0)
    values = 0
    for _ in range(3000):
        text = "".join(rng.choice(rng.choice((ATOMS, SIGNS))) for _ in range(rng.randrange(12)))
        with contextlib.suppress(ToolError):
            assert math.isfinite(evaluate(text))
            values += 1
    assert 50 < values < 2000
