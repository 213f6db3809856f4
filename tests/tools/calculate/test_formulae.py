"""Clinical formulae against worked values: published ones, or by hand from the equation."""

import inspect
from typing import get_args

import pytest

from medgym.errors import ToolError
from medgym.tools.calculate.formulae import FORMULAE, Range, quantities, takes, work_out
from medgym.tools.calculate.tool import FormulaName

BSA, EGFR = "body_surface_area_dubois", "egfr_ckd_epi_2021"


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        # A prostate of 5 x 4 x 3 cm: 0.52 x 60 = 31 mL.
        ("ellipsoid_volume", (50, 40, 30), "Volume 31.42 mL."),
        ("recist_change", (100, 100, 69), "-31.0 % since baseline, -31.0 % since the nadir: part"),
        ("recist_change", (100, 50, 60), "-40.0 % since baseline, +20.0 % since the nadir: progr"),
        # A fifth more, but less than 5 mm: no progression.
        ("recist_change", (100, 15, 19), "-81.0 % since baseline, +26.7 % since the nadir: part"),
        ("recist_change", (100, 80, 0), "-100.0 % since baseline, -100.0 % since the nadir: compl"),
        ("recist_change", (100, 0, 7), "-93.0 % since baseline, +7 mm since the nadir: progr"),
        ("recist_change", (100, 90, 95), "-5.0 % since baseline, +5.6 % since the nadir: stable"),
        # Just 30 % less, which a float misses by its last digit.
        ("recist_change", (10.1, 7.07, 7.07), "-30.0 % since baseline, +0.0 % since the nadir: p"),
        ("recist_change", (100, 25.3, 30.36), "+20.0 % since the nadir: progr"),
        ("cardiothoracic_ratio", (150, 300), "Cardiothoracic ratio 0.50."),
        (BSA, (170, 70), "Body surface area 1.81 m2."),
        (BSA, (180, 80), "Body surface area 2.00 m2."),
        # The calculator of the National Kidney Foundation: 71.
        (EGFR, (1.2, 55, "male"), "eGFR 71 mL/min/1.73 m2."),
        (EGFR, (1.2, 60, "female"), "eGFR 52 mL/min/1.73 m2."),
        (EGFR, (0.7, 50, "female"), "eGFR 105 mL/min/1.73 m2."),
        (EGFR, (0.5, 30, "male"), "eGFR 141 mL/min/1.73 m2."),
        # Guyton and Hall: QT 480 ms at 64 a minute, 496 ms.
        ("corrected_qt_bazett", (480, 64), "QTc 496 ms."),
        ("corrected_qt_bazett", (400, 60), "QTc 400 ms."),
        ("corrected_qt_fridericia", (400, 75), "QTc 431 ms."),
        ("agatston_category", (0,), "Coronary calcification: none."),
        ("agatston_category", (10,), "Coronary calcification: minimal."),
        ("agatston_category", (100.5,), "Coronary calcification: moderate."),
        ("agatston_category", (401,), "Coronary calcification: extensive."),
        # A diameter from 10 to 12.6 mm is twice the volume.
        ("volume_doubling_time", (523.6, 1047.2, 90), "Volume doubling time 90 days."),
        ("volume_doubling_time", (800, 100, 90), "Volume doubling time -30 days."),
        ("volume_doubling_time", (100, 100, 90), "it has no doubling time."),
        ("ejection_fraction", (120, 50), "Ejection fraction 58 %."),
        # 370 MBq in 70 kg, evenly spread and decayed for a half-life: 1 g/mL.
        ("suv_body_weight", (2.642857, 370, 70, 109.77, 109.77), "SUVbw 1.00 g/mL."),
        ("suv_body_weight", (20, 400, 80, 0, 109.77), "SUVbw 4.00 g/mL."),
    ],
)  # fmt: skip
def test_worked_values(name: str, values: tuple[float | str, ...], said: str) -> None:
    assert said in work_out(name, dict(zip(quantities(name), values, strict=True)))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("ellipsoid_volume", {"length_mm": 50, "width_mm": 40},
         "height_mm is missing; ellipsoid_volume takes length_mm (0.1 to 1000), width_mm"),
        ("ellipsoid_volume", {"length_cm": 5}, "there is no 'length_cm'; ellipsoid_volume takes"),
        (BSA, {"height_cm": 1.7, "weight_kg": 70}, "height_cm is 1.7; expected 20 to 260 (cm)"),
        (BSA, {"height_cm": "nan", "weight_kg": 70}, "expected a number"),
        (BSA, {"height_cm": "tall", "weight_kg": 70}, "is 'tall'; expected a number"),
        (EGFR, {"creatinine_mg_dl": 1, "age_years": 50, "sex": "m"},
         "sex is 'm'; expected female or male"),
        (EGFR, {"creatinine_mg_dl": 1, "age_years": 9, "sex": "male"}, "18 to 120 (years)"),
        ("cardiothoracic_ratio", {"heart_mm": 300, "thorax_mm": 150}, "not below thorax_mm"),
        ("ejection_fraction", {"end_diastolic_ml": 50, "end_systolic_ml": 120}, "a smaller volume"),
        ("recist_change", {"baseline_mm": 0, "nadir_mm": 0, "current_mm": 1}, "before treatment"),
        ("recist_change", {"baseline_mm": 10, "nadir_mm": 20, "current_mm": 1}, "smallest sum"),
        ("volume_doubling_time", {"first_mm3": 1, "second_mm3": 1e999, "days": 1}, "is inf;"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_was_expected(
    name: str, values: dict[str, float | str], said: str
) -> None:
    with pytest.raises(ToolError) as error:
        work_out(name, values)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_may_be_written_as_text() -> None:
    assert (
        work_out("corrected_qt_bazett", {"qt_ms": "400", "heart_rate_per_min": 60}) == "QTc 400 ms."
    )


@pytest.mark.parametrize("name", FORMULAE)
def test_a_formula_says_its_units_its_ranges_and_its_source(name: str) -> None:
    assert "Source: " in inspect.getdoc(FORMULAE[name])  # type: ignore[operator]
    assert takes(name).startswith(f"{name} takes ")
    for quantity, kind in quantities(name).items():
        if isinstance(kind, Range):
            assert kind.low < kind.high
            assert "_" in quantity or quantity in ("days", "minutes")


def test_the_tool_offers_every_formula() -> None:
    assert set(get_args(FormulaName)) == set(FORMULAE)
