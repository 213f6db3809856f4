"""Reports of a stored run, for labellers that a user asks for: RadGraph and CheXbert."""

from collections.abc import Hashable, Mapping
from typing import Any

from medgym.cases import Case
from medgym.errors import UserError
from medgym.trajectory import Trajectory

from ...scorers.report.labellers import Labeller, load_labeller
from ...scorers.report.language import ENGLISH, language_of
from ..answer_text import answer_text
from ..outcome import CaseOutcome
from ..shares import as_share


class LabelledReports:
    """Gathers the reports of each benchmark, then compares them by labellers.

    The models are loaded at once, so that one that is missing is said before anything is read.
    """

    def __init__(self, names: str) -> None:
        """Load the labellers of names with commas between them.

        Raises:
            UserError: one is unknown, or is not on this machine.
        """
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        if not wanted:
            raise UserError("--labellers names none; fix: write radgraph, chexbert, or both")
        self._labellers: Mapping[str, Labeller] = {name: load_labeller(name) for name in wanted}
        self._reports: dict[str, list[tuple[str, str, Hashable]]] = {}
        self._others: dict[str, int] = {}

    def add(self, case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> None:
        """Take an episode, where it asked for a report."""
        if outcome.scorer != "report" or not outcome.is_counted:
            return
        if language_of(case) != ENGLISH:
            self._others[outcome.benchmark] = self._others.get(outcome.benchmark, 0) + 1
            return
        kept = self._reports.setdefault(outcome.benchmark, [])
        kept.append((answer_text(case, trajectory), case.answer, outcome.unit))

    def figures(self, benchmark: str) -> dict[str, Any]:
        """The figures of a benchmark with their intervals over groups; none where it has no report
        in English. Reports in other languages are left out, and counted."""
        kept = self._reports.get(benchmark, [])
        found: dict[str, Any] = {}
        if kept:
            reports, golds, units = map(list, zip(*kept, strict=True))
            for labeller in self._labellers.values():
                made = labeller(reports, golds, units)
                found |= {name: as_share(each).as_dict() for name, each in made.items()}
        if others := self._others.get(benchmark):
            found["left out by the labellers: not English"] = others
        return found
