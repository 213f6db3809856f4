"""The check that a model's scores are numbers: half precision may overflow."""

import math
from collections.abc import Iterable

from medgym.errors import RunError


def require_numbers(name: str, scores: Iterable[float]) -> None:
    """Refuse scores that are no numbers.

    Raises:
        RunError: one is none.
    """
    if not all(map(math.isfinite, scores)):
        raise RunError(f"the scores of {name} are no numbers; fix: set dtype=float32")
