"""The columns of outcomes that say how an episode looked."""

from typing import Any

from medgym.cases import Case
from medgym.metrics.grounding import call_faults, calls_needed, coverage, repeated_looks
from medgym.metrics.looking import best_iou
from medgym.trajectory import Trajectory


def looking_columns(case: Case, trajectory: Trajectory) -> dict[str, Any]:
    """How the looks of an episode and the gold regions fit, and what the looks took."""
    return {
        "look_iou": best_iou(case, trajectory),
        "look_coverage": coverage(case, trajectory),
        "calls_needed": calls_needed(case),
        "looks": sum(len(part.looks) for _, part in trajectory.parts()),
        "repeated_looks": repeated_looks(trajectory),
        "call_faults": ",".join(call_faults(trajectory)),
    }
