"""The confidence that a reply states, and no other number in it."""

import re

_STATED = re.compile(
    r"\bconfidence(?:\s+(?:level|score|in\s+(?:this|my|the)\s+answer))?\**\s*(?:>|[:=]|\bis\b)\s*\**"
    r"\s*(?P<number>\d++(?:\.\d++)?+)\s*(?P<unit>%|percent\b|/\s*100?\b)?(?![\d.]*\d)",
    re.IGNORECASE,
)


def stated_confidence(reply: str) -> float | None:
    """The confidence from 0 to 1 that a reply states of its answer; None where it states none.

    It stands after the word: `<confidence>0.8</confidence>`, `Confidence: 80 %`, `confidence is
    8/10`. The last one counts. A number above 1 without a unit is none: it could be of ten or of a
    hundred. So is one above its own end, such as 120 %.
    """
    found = None
    for each in _STATED.finditer(reply):
        unit = (each["unit"] or "").replace(" ", "")
        end = {"": 1.0, "/10": 10.0}.get(unit, 100.0)
        value = float(each["number"]) / end
        found = value if value <= 1 else None
    return found
