"""Units of measurements, and how many of a base unit each is."""

import re
import unicodedata

_METRE = ("metre", "meter", "metres", "meters")
_LITRE = ("litre", "liter", "litres", "liters")

_LENGTHS = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
_PREFIXES = {"nano": 1e-6, "micro": 1e-3, "milli": 1.0, "centi": 10.0, "": 1000.0}
_VOLUMES = {"ul": 1.0, "µl": 1.0, "μl": 1.0, "ml": 1e3, "cl": 1e4, "dl": 1e5, "l": 1e6, "cc": 1e3,
            "ccm": 1e3}  # fmt: skip
_LITRES = {"micro": 1.0, "milli": 1e3, "centi": 1e4, "deci": 1e5, "": 1e6}

UNITS: dict[str, tuple[str, float]] = {
    **{unit: ("mm", factor) for unit, factor in _LENGTHS.items()},
    **{f"{p}{metre}": ("mm", factor) for p, factor in _PREFIXES.items() for metre in _METRE},
    **{f"{unit}2": ("mm2", factor**2) for unit, factor in _LENGTHS.items()},
    **{f"sq {unit}": ("mm2", factor**2) for unit, factor in _LENGTHS.items()},
    **{
        f"square {p}{metre}": ("mm2", factor**2)
        for p, factor in _PREFIXES.items()
        for metre in _METRE
    },
    **{f"{unit}3": ("mm3", factor**3) for unit, factor in _LENGTHS.items()},
    **{f"cu {unit}": ("mm3", factor**3) for unit, factor in _LENGTHS.items()},
    **{
        f"cubic {p}{metre}": ("mm3", factor**3)
        for p, factor in _PREFIXES.items()
        for metre in _METRE
    },
    **{unit: ("mm3", factor) for unit, factor in _VOLUMES.items()},
    **{f"{p}{litre}": ("mm3", factor) for p, factor in _LITRES.items() for litre in _LITRE},
    **dict.fromkeys(("hu", "hounsfield unit", "hounsfield units"), ("hu", 1.0)),
    **dict.fromkeys(("%", "percent", "per cent", "pct"), ("%", 1.0)),
    **dict.fromkeys(("°", "deg", "degree", "degrees"), ("°", 1.0)),
    **dict.fromkeys(("year", "years", "yr", "yrs"), ("year", 1.0)),
    **dict.fromkeys(("month", "months"), ("month", 1.0)),
    **dict.fromkeys(("week", "weeks"), ("week", 1.0)),
    **dict.fromkeys(("day", "days"), ("day", 1.0)),
}
"""Of each spelling, what it measures and how many base units it is. A percentage is not a share."""

_POWER = re.compile(r"\s*(?:\^|\*\*)\s*(?=[23]$)")


def base_of(unit: str) -> tuple[str, float]:
    """What a unit measures, and how many base units it is. An unknown unit measures itself."""
    plain = _POWER.sub("", unicodedata.normalize("NFKC", unit)).strip().casefold()
    return UNITS.get(plain, (plain, 1.0))
