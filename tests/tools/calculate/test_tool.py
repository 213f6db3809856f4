"""The tool `calculate` as a policy calls it."""

from typing import Any

import pytest

from medgym.errors import ToolError
from medgym.tool import load_tools
from medgym.workspace import Workspace


def call(**arguments: Any) -> str:
    (tool,) = load_tools(["calculate"])
    return tool(tool.parse(arguments), Workspace([])).text


def test_an_expression_and_a_formula() -> None:
    assert call(expression="pi / 6 * 12.3 ** 3") == "Result 974.3476828."
    assert call(expression="0 * -1") == "Result 0."
    assert call(expression="1e20 + 1") == "Result 1e+20."
    values = {"end_diastolic_ml": 120, "end_systolic_ml": "50"}
    assert call(formula="ejection_fraction", values=values) == "Ejection fraction 58 %."


def test_a_formula_without_values_says_what_it_takes() -> None:
    said = "corrected_qt_bazett takes qt_ms (100 to 1000), heart_rate_per_min (20 to 300)."
    assert call(formula="corrected_qt_bazett") == call(formula="corrected_qt_bazett", values={})
    assert call(formula="corrected_qt_bazett") == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "expected an expression or a formula"),
        ({"values": {"a": 1}}, "nothing to calculate"),
        ({"expression": "1", "values": {"a": 1}}, "expected a formula's name"),
        ({"expression": "1", "formula": "ejection_fraction"}, "expected one of them"),
        ({"formula": "bmi"}, "Input should be 'ellipsoid_volume'"),
        ({"formula": "ejection_fraction", "values": {"end_diastolic_ml": True}}, "values"),
        ({"formula": "ejection_fraction", "values": [1, 2]}, "valid dictionary"),
        ({"expression": 5}, "valid string"),
    ],
)
def test_a_wrong_call_is_an_observation(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError) as error:
        call(**arguments)
    assert said in str(error.value)
