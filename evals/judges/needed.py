"""Whether a policy used the tool that a case needs, where cases need different ones."""

from medgym.cases import Case
from medgym.metrics.rate import Rate
from medgym.sources.phantom.tool_questions import needed_tool
from medgym.trajectory import Trajectory

from ..outcomes.columns import NumberColumns
from ..outcomes.packed import PackedRows, in_order

Unit = tuple[str, str]


class NeededTally:
    """Counts, by the tool that a case needs, the episodes that used it and those that are right."""

    def __init__(self) -> None:
        self._counted: dict[str, PackedRows[tuple[Unit, bool, bool]]] = {}

    def add(self, case: Case, trajectory: Trajectory, unit: Unit) -> None:
        """Count an episode; nothing where it is not known what the case needs."""
        tool = needed_tool(case)
        if tool is not None:
            row = unit, tool in trajectory.calls, trajectory.correct
            self._counted.setdefault(tool, PackedRows()).add(row)

    def metrics(self) -> dict[str, Rate]:
        """The shares by tool; none where all cases need the same."""
        if len(self._counted) < 2:
            return {}
        found = {}
        for tool in sorted(self._counted):
            # In order: the digits do not depend on which ended first.
            rows = NumberColumns(in_order(self._counted[tool]), 2)
            used, right = rows.values == 1
            found[f"{USED}{tool}"] = Rate.of(used.tolist(), rows.groups())
            found[f"{RIGHT}{tool}"] = Rate.of(right.tolist(), rows.groups())
        return found


USED, RIGHT = "used, where needed: ", "right, where needed: "
"""How the names of the metrics begin; the tool follows."""
