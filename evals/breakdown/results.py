"""What `results.json` holds of outcomes beside a judgement: subgroups, and calibration."""

from collections.abc import Collection
from typing import Any

from ..outcomes.outcome import CaseOutcome
from .calibrated import calibrations
from .subgroups import subgroups

Breakdown = dict[str, Any]


def breakdown(outcomes: Collection[CaseOutcome]) -> Breakdown:
    """`subgroups` where cases are of several kinds, `calibration` where a confidence is known."""
    found = {"subgroups": subgroups(outcomes), "calibration": calibrations(outcomes)}
    return {name: each for name, each in found.items() if each}
