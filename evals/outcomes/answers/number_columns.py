"""What the table of outcomes holds of a number."""

from medgym.cases import Case
from medgym.trajectory import Trajectory

from ...scorers.number import relative_accuracy
from ..answer_text import answer_text


def relative_accuracy_of(case: Case, trajectory: Trajectory) -> float | None:
    """How near the answer is to the gold number, see `medgym.evals.scorers.number`; None of any
    other case, and where the machinery failed."""
    if case.answer_type != "number" or case.options or trajectory.failure is not None:
        return None
    return relative_accuracy(case, answer_text(case, trajectory))
