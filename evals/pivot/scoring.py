"""What a reply at a pivot is worth: its form, its tool, the place it looks at, and its box."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from medgym.metrics.looking import best_iou, hit
from medgym.metrics.regions import box_iou
from medgym.storage.atomic import write_atomic
from medgym.trajectory import Look, Trajectory

from .asking import ACCEPTED, ANSWERED, CALLS, FAULTS, READ
from .places import Pivot

PIVOTS = "pivots.parquet"
"""The file's name in the folder of a run."""


_TYPES = {"bool | None": "bool", "float | None": "double", "str | None": "string"}
"""Of columns in which there may be nothing at all: tables of several runs are of one form."""


@dataclass(frozen=True)
class PivotOutcome:
    """What became of one pivot.

    Attributes:
        benchmark: of a suite; empty else.
        case, source, group, member, turn: which reply of which episode it is.
        recorded: the tools that were called there, with commas between.
        reply: what the policy wrote.
        well_formed: whether the reply could be read. called: whether it calls a tool. answered:
            whether it answers instead. accepted: whether no call would have been refused.
        tool_right: whether it calls a tool that was called there.
        place_right: whether it looks at the same image, plane and index; None where the recorded
            calls showed nothing.
        iou: of its box with the recorded one; None as above.
        gold_shown: whether it would show a whole gold region; None for a case without regions.
        gold_iou: the best IoU of its box with a gold region; None as above.
        faults: what was wrong with the reply or its calls, with commas between.
        failure: why there is no reply, where the machinery failed.

    Of a reply with more calls than were made there, only the first ones count.
    """

    benchmark: str
    case: str
    source: str
    group: str
    member: int
    turn: int
    recorded: str
    reply: str
    well_formed: bool
    called: bool
    answered: bool
    accepted: bool
    tool_right: bool
    place_right: bool | None
    iou: float | None
    gold_shown: bool | None
    gold_iou: float | None
    faults: str = ""
    failure: str | None = None

    @property
    def unit(self) -> tuple[str, str]:
        """What the pivot is not independent of."""
        return self.source, self.group or self.case


def outcome_of_pivot(pivot: Pivot, trajectory: Trajectory, benchmark: str = "") -> PivotOutcome:
    """Judge the reply at a pivot.

    Args:
        trajectory: the episode up to the reply, as `ask` gives it.
    """
    terms = trajectory.terms or {}
    asked = replace(trajectory, looks=trajectory.looks[pivot.before :])
    count, faults = (round(terms.get(name, 0.0)) for name in (CALLS, FAULTS))
    calls = asked.calls[len(asked.calls) - count :][: len(pivot.tools)]
    overlaps = [
        box_iou(mine.box_px, there.box_px)
        for mine in asked.looks
        for there in pivot.looks
        if _place(mine) == _place(there)
    ]
    return PivotOutcome(
        benchmark=benchmark,
        case=pivot.case.id,
        source=pivot.case.source,
        group=pivot.case.group,
        member=pivot.member,
        turn=pivot.turn,
        recorded=",".join(pivot.tools),
        reply=trajectory.nodes[-1].text if trajectory.failure is None else "",
        well_formed=bool(terms.get(READ)),
        called=count > 0,
        answered=bool(terms.get(ANSWERED)),
        accepted=bool(terms.get(ACCEPTED)),
        tool_right=bool(set(calls) & set(pivot.tools)),
        place_right=bool(overlaps) if pivot.looks else None,
        iou=max(overlaps, default=0.0) if pivot.looks else None,
        gold_shown=hit(pivot.case, asked),
        gold_iou=best_iou(pivot.case, asked),
        faults=",".join(trajectory.faults[len(trajectory.faults) - faults :]),
        failure=trajectory.failure,
    )


def _place(look: Look) -> tuple[int, str, int]:
    return look.image, look.plane, look.index


def write_pivots(folder: Path, outcomes: Sequence[PivotOutcome]) -> None:
    """Write the outcomes of a run, one row each."""
    import pyarrow
    import pyarrow.parquet

    columns = {
        each.name: pyarrow.array(
            [getattr(outcome, each.name) for outcome in outcomes], _TYPES.get(str(each.type))
        )
        for each in fields(PivotOutcome)
    }
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream, compression="zstd")
    write_atomic(folder / PIVOTS, stream.getvalue())
