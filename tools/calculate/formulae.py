"""Clinical formulae by name. The name of each quantity ends in its unit, and its range is checked.

A range holds what a person can have, with room; it is there to catch a value in another unit.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from medgym.errors import ToolError


@dataclass(frozen=True)
class Range:
    """The least and the greatest value of a quantity."""

    low: float
    high: float


Length = Annotated[float, Range(0.1, 1000)]
Sum = Annotated[float, Range(0, 5000)]
Volume = Annotated[float, Range(1, 1000)]
Sex = Literal["female", "male"]


def ellipsoid_volume(length_mm: Length, width_mm: Length, height_mm: Length) -> str:
    """The volume of an ellipsoid by its three diameters: pi / 6 times their product.

    Source: Terris and Stamey, J Urol 1991;145:984 (of the prostate).
    """
    return f"Volume {math.pi / 6 * length_mm * width_mm * height_mm / 1000:.4g} mL."


def recist_change(baseline_mm: Sum, nadir_mm: Sum, current_mm: Sum) -> str:
    """The change of the sum of diameters of the target lesions, and the response by RECIST 1.1.

    The nadir is the smallest sum so far, the baseline included. New lesions, which are
    progression too, are not known here; nor are lymph nodes, which vanish below 10 mm.

    Source: Eisenhauer et al., Eur J Cancer 2009;45:228.
    """
    if baseline_mm == 0:
        raise ToolError("baseline_mm is 0; expected the sum before treatment, above 0")
    if nadir_mm > baseline_mm:
        raise ToolError("nadir_mm is above baseline_mm; expected the smallest sum so far")
    change = (current_mm - baseline_mm) / baseline_mm * 100
    grown = current_mm - nadir_mm
    growth = grown / nadir_mm * 100 if nadir_mm else math.inf if grown else 0.0
    change, growth, grown = (round(each, 9) for each in (change, growth, grown))
    if growth >= 20 and grown >= 5:
        response = "progressive disease"
    elif current_mm == 0:
        response = "complete response"
    else:
        response = "partial response" if change <= -30 else "stable disease"
    since = f"{growth:+.1f} %" if math.isfinite(growth) else f"{grown:+g} mm"
    return f"Change {change:+.1f} % since baseline, {since} since the nadir: {response}."


def cardiothoracic_ratio(heart_mm: Length, thorax_mm: Length) -> str:
    """The width of the heart over that of the thorax, on a frontal radiograph.

    Source: Danzer, Am J Med Sci 1919;157:513. Above 0.50 the heart of an adult is enlarged on a
    posteroanterior film.
    """
    if heart_mm >= thorax_mm:
        raise ToolError("heart_mm is not below thorax_mm; expected the inner width of the thorax")
    return f"Cardiothoracic ratio {heart_mm / thorax_mm:.2f}."


def body_surface_area_dubois(
    height_cm: Annotated[float, Range(20, 260)], weight_kg: Annotated[float, Range(0.5, 500)]
) -> str:
    """The surface of the body.

    Source: Du Bois and Du Bois, Arch Intern Med 1916;17:863.
    """
    return f"Body surface area {0.007184 * weight_kg**0.425 * height_cm**0.725:.2f} m2."


def egfr_ckd_epi_2021(
    creatinine_mg_dl: Annotated[float, Range(0.1, 30)],
    age_years: Annotated[float, Range(18, 120)],
    sex: Sex,
) -> str:
    """The estimated glomerular filtration rate by creatinine, without race.

    A mg/dL of creatinine is 88.42 umol/L.

    Source: Inker et al., N Engl J Med 2021;385:1737.
    """
    kappa, alpha, factor = (0.7, -0.241, 1.012) if sex == "female" else (0.9, -0.302, 1.0)
    ratio = creatinine_mg_dl / kappa
    rate = 142 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.2 * 0.9938**age_years * factor
    return f"eGFR {rate:.0f} mL/min/1.73 m2."


Interval = Annotated[float, Range(100, 1000)]
Rate = Annotated[float, Range(20, 300)]


def corrected_qt_bazett(qt_ms: Interval, heart_rate_per_min: Rate) -> str:
    """The QT interval at a rate of 60: QT over the square root of RR in seconds.

    Source: Bazett, Heart 1920;7:353.
    """
    return f"QTc {qt_ms / math.sqrt(60 / heart_rate_per_min):.0f} ms."


def corrected_qt_fridericia(qt_ms: Interval, heart_rate_per_min: Rate) -> str:
    """The QT interval at a rate of 60: QT over the cube root of RR in seconds.

    Source: Fridericia, Acta Med Scand 1920;53:469.
    """
    return f"QTc {qt_ms / (60 / heart_rate_per_min) ** (1 / 3):.0f} ms."


def agatston_category(score_agatston: Annotated[float, Range(0, 20000)]) -> str:
    """How much calcified plaque the coronary arteries have, by the Agatston score.

    Source: Rumberger et al., Mayo Clin Proc 1999;74:243: 0, to 10, to 100, to 400, above.
    """
    ends = ((0, "none"), (10, "minimal"), (100, "mild"), (400, "moderate"))
    found = next((name for end, name in ends if score_agatston <= end), "extensive")
    return f"Coronary calcification: {found}."


def volume_doubling_time(
    first_mm3: Annotated[float, Range(1, 1e7)],
    second_mm3: Annotated[float, Range(1, 1e7)],
    days: Annotated[float, Range(1, 10000)],
) -> str:
    """The days in which a nodule doubles its volume; negative where it shrinks.

    Source: Schwartz, Cancer 1961;14:1272. Of a sphere the volume is pi / 6 times the cube of the
    diameter.
    """
    if first_mm3 == second_mm3:
        return "The volume has not changed: it has no doubling time."
    return f"Volume doubling time {days * math.log(2) / math.log(second_mm3 / first_mm3):.0f} days."


def ejection_fraction(end_diastolic_ml: Volume, end_systolic_ml: Volume) -> str:
    """The share of the end-diastolic volume of a ventricle that is ejected.

    Source: Lang et al., J Am Soc Echocardiogr 2015;28:1.
    """
    if end_systolic_ml >= end_diastolic_ml:
        raise ToolError("end_systolic_ml is not below end_diastolic_ml; expected a smaller volume")
    share = (end_diastolic_ml - end_systolic_ml) / end_diastolic_ml
    return f"Ejection fraction {100 * share:.0f} %."


def suv_body_weight(
    concentration_kbq_ml: Annotated[float, Range(0, 10000)],
    dose_mbq: Annotated[float, Range(1, 10000)],
    weight_kg: Annotated[float, Range(0.5, 500)],
    minutes: Annotated[float, Range(0, 1440)],
    half_life_minutes: Annotated[float, Range(1, 10000)],
) -> str:
    """The standardised uptake value: the concentration over the dose for each gram of the body.

    The dose decays for `minutes`, from its injection to the time to which the image is corrected
    (0 where that is the injection). The half-life of F-18 is 109.77 minutes.

    Source: Kinahan and Fletcher, Semin Ultrasound CT MR 2010;31:496.
    """
    left_mbq = dose_mbq * 0.5 ** (minutes / half_life_minutes)
    return f"SUVbw {concentration_kbq_ml * weight_kg / left_mbq:.2f} g/mL."


FORMULAE: Mapping[str, Callable[..., str]] = {
    each.__name__: each
    for each in (
        ellipsoid_volume,
        recist_change,
        cardiothoracic_ratio,
        body_surface_area_dubois,
        egfr_ckd_epi_2021,
        corrected_qt_bazett,
        corrected_qt_fridericia,
        agatston_category,
        volume_doubling_time,
        ejection_fraction,
        suv_body_weight,
    )
}


def quantities(name: str) -> dict[str, Any]:
    """The quantities of a formula by name: a `Range` each, or the words among which one is."""
    hints = get_type_hints(FORMULAE[name], include_extras=True)
    del hints["return"]
    return {
        each: get_args(hint) if get_origin(hint) is Literal else get_args(hint)[1]
        for each, hint in hints.items()
    }


def takes(name: str) -> str:
    """What a formula takes, in words."""
    found = []
    for each, kind in quantities(name).items():
        what = f"{kind.low:g} to {kind.high:g}" if isinstance(kind, Range) else " or ".join(kind)
        found.append(f"{each} ({what})")
    return f"{name} takes {', '.join(found)}"


def work_out(name: str, values: Mapping[str, float | str]) -> str:
    """What a formula yields.

    Raises:
        ToolError: a quantity is missing, unknown, of another kind, or out of its range.
    """
    known = quantities(name)
    unknown = [each for each in values if each not in known]
    missing = [each for each in known if each not in values]
    if unknown or missing:
        what = f"there is no {unknown[0][:40]!r}" if unknown else f"{missing[0]} is missing"
        raise ToolError(f"{what}; {takes(name)}", "name")
    return FORMULAE[name](**{each: _checked(each, values[each], known[each]) for each in known})


def _checked(name: str, given: float | str, kind: Any) -> float | str:
    if not isinstance(kind, Range):
        if given not in kind:
            raise ToolError(f"{name} is {str(given)[:40]!r}; expected {' or '.join(kind)}", "type")
        return given
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ToolError(f"{name} is {str(given)[:40]!r}; expected a number", "type")
    if not kind.low <= value <= kind.high:
        unit = name.rpartition("_")[2]
        raise ToolError(f"{name} is {value:g}; expected {kind.low:g} to {kind.high:g} ({unit})")
    return value
