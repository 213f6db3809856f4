"""Figures as cells of a table."""

from collections.abc import Mapping
from typing import Any

from medgym.commands.printing import percent

from ..tables import SHARES

Figure = Mapping[str, Any]
"""A share with its interval, as JSON holds it."""


def bounds(rate: Figure) -> str:
    """The ends of an interval in percent; a dash where there is none, or it tells nothing."""
    low, high = rate.get("low"), rate.get("high")
    if low is None or high is None or (low <= 0 and high >= 1):
        return "-"
    return f"{100 * low:.1f} to {100 * high:.1f}"


def share(rate: Figure | None) -> str:
    """A share with its interval: `72.5 % (64.0 to 79.6)`."""
    if rate is None or rate.get("n") == 0:
        return "-"
    return f"{percent(rate['value'])} ({bounds(rate)})"


def accuracy_of(judgement: Mapping[str, Any]) -> Figure:
    """The accuracy of a judgement; empty where no episode counts, which is no accuracy of 0 %."""
    rate: Figure | None = judgement.get("accuracy")
    return rate if rate is not None and rate["n"] != 0 else {}


def why_no_accuracy(judgement: Mapping[str, Any]) -> str:
    """Why a judgement has no accuracy; empty where it has one."""
    if accuracy_of(judgement):
        return ""
    withheld = judgement.get("withheld", {})
    counts = {why: round(rate["value"] * rate["n"]) for why, rate in withheld.items()}
    counts["failed"] = len(judgement.get("failed", {}))
    counts["unreadable"] = judgement.get("unreadable", {}).get("count", 0)
    said = ", ".join(f"{why} {count:,}" for why, count in counts.items() if count)
    return f"no accuracy: no episode counts{f' ({said})' if said else ''}"


def number(value: float) -> str:
    """A number as short as it can be read."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def is_rate(value: Any) -> bool:
    """Whether it is a share of cases with its interval."""
    return isinstance(value, Mapping) and {"value", "low", "high", "n"} <= value.keys()


RATIOS = ("BE", "rBE", "kappa", "MediHall")
"""Names of figures that are no share, although they may lie between -1 and 1."""

POINTS = ("difference", "drop", "gain")
"""Names of differences of shares, which are in points of percent."""

CHANCES = ("p", "adjusted_p")
"""Names of p values."""


def p_value(p: float) -> str:
    """A p value; below what is worth telling apart only that it is below."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def named_cell(name: str, value: Any) -> str:
    """A figure as a cell, as its name asks for."""
    if name in CHANCES and isinstance(value, int | float):
        return p_value(value)
    if name.startswith(SHARES) and isinstance(value, float):
        return percent(value)
    if not is_rate(value) or value["value"] is None or name not in (*RATIOS, *POINTS):
        return cell(value)
    times, form = (100, "+.1f") if name in POINTS else (1, ".3f" if name == "MediHall" else ".2f")
    said = [format(times * each, form) for each in (value["value"], value["low"], value["high"])
            if each is not None]  # fmt: skip
    ends = f" ({said[1]} to {said[2]})" if len(said) == 3 else ""
    return f"{said[0]}{' points' if name in POINTS else ''}{ends} of {value['n']:,}"


def cell(value: Any) -> str:
    """Any figure as a cell."""
    if value is None:
        return "-"
    if is_rate(value):
        return _with_interval(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    return str(value)


def _with_interval(rate: Figure) -> str:
    ends = [rate["value"], rate["low"], rate["high"]]
    unit = rate.get("unit")
    if not unit and all(isinstance(end, int | float) and -1 <= end <= 1 for end in ends):
        return f"{share(rate)} of {rate['n']:,}"
    known = ends[1] is not None and ends[2] is not None
    of = f" {unit}" if unit else ""
    return cell(ends[0]) + of + (f" ({cell(ends[1])} to {cell(ends[2])})" if known else "")
