"""What the tools are worth to a policy, and what better looks would be: differences between arms.

The tool-off gap is the accuracy with the tools less that without. The oracle gap is the accuracy
where the first look is ideal less that with the tools alone. Both are paired, case by case, with
intervals over groups.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from medgym.commands.printing import WIDTH, print_columns, safe_line

from ..comparison import Compared, compare
from ..outcomes.outcome import CaseOutcome
from ..outcomes.packed import PackedRows
from ..statistics.paired import Verdict, holm
from ..statistics.power import cases_needed
from .stored import arm_name


@dataclass(frozen=True)
class GapKind:
    """A kind of gap: from one arm to another, and what it means by its verdict."""

    name: str
    first: str
    second: str
    meaning: Mapping[Verdict, str]


KINDS = (
    GapKind(
        "tool-off gap", "off", "on",
        {"win": "tools help", "loss": "tools harm", "tie": "none shown"},
    ),
    GapKind(
        "oracle gap", "on", "oracle",
        {"win": "looks fall short", "loss": "ideal looks harm", "tie": "none shown"},
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """A gap on one benchmark.

    Attributes:
        kind: which gap it is.
        benchmark: its name; empty where there is only one.
        compared: the two arms on the cases that both have played.
        adjusted: p of the permutation test, adjusted over all gaps (Holm).
        without: cases that were not played in the second arm: no gold region, or one that answers.
    """

    kind: GapKind
    benchmark: str
    compared: Compared
    adjusted: float
    without: int

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"{self.benchmark}: {self.kind.name}" if self.benchmark else self.kind.name

    @property
    def meaning(self) -> str:
        """What the verdict means."""
        return self.kind.meaning[self.compared.difference.outcome]

    def as_dict(self) -> dict[str, Any]:
        """The gap as `results.json` holds it."""
        interval = self.compared.difference.interval
        return {
            "gap": self.name,
            "difference": interval.as_dict(),
            self.kind.first: self.compared.first.as_dict(),
            self.kind.second: self.compared.second.as_dict(),
            "p": self.adjusted,
            "verdict": self.meaning,
            "without regions": self.without,
            "left out": self.compared.left_out,
        }


def gaps(
    outcomes: Mapping[str, Collection[CaseOutcome]], benchmarks: Sequence[str], *, seed: int = 0
) -> list[Gap]:
    """The gaps of an evaluation in several arms.

    Args:
        outcomes: of each benchmark in each arm, by `arm_name`.
        benchmarks: their names without an arm.
        seed: of the resampling.

    Raises:
        UserError: of a benchmark no case could be played in both arms.
    """
    found: list[Gap] = []
    for kind in KINDS:
        for name in benchmarks:
            first, second = (outcomes.get(arm_name(name, a)) for a in (kind.first, kind.second))
            if not first or not second:
                continue
            # By hashes, since the names of all episodes take ten times the memory.
            played = {hash((each.case, each.member)) for each in second}
            shared = [hash((each.case, each.member)) in played for each in first]
            one = PackedRows(replace(o, benchmark=name) for o in compress(first, shared))
            other = PackedRows(replace(o, benchmark=name) for o in second)
            (compared,) = compare(one, other, names=(kind.first, kind.second), seed=seed)
            without = len({hash(each.case) for each in first}) - len({hash(o.case) for o in one})
            found.append(Gap(kind, name, compared, 1.0, without))
    adjusted = holm([each.compared.difference.permutation for each in found])
    return [replace(gap, adjusted=p) for gap, p in zip(found, adjusted, strict=True)]


HEADINGS = ("points", "95 % interval", "p", "verdict")


def print_gaps(found: Sequence[Gap]) -> None:
    """One row for each gap, in points of percent, and what is to be said of them."""
    if not found:
        return
    rows = []
    for gap in found:
        interval = gap.compared.difference.interval
        bounds = f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
        p = "<0.001" if gap.adjusted < 0.001 else f"{gap.adjusted:.3f}"
        points = f"{100 * interval.value:+.1f}"
        rows.append((gap.name, str(interval.n), points, bounds, p, gap.meaning))
    print()
    print_columns(("gap", found[0].compared.counted, *HEADINGS), rows, WIDTH)
    for line in gap_notes(found):
        print(safe_line(line))


def gap_notes(found: Sequence[Gap]) -> list[str]:
    """What is to be said below the table."""
    lines = [
        "tool-off gap: accuracy with the tools less that without",
        "oracle gap: accuracy with an ideal first look less that with the tools",
        "p is adjusted over the gaps (Holm)",
    ]
    for gap in found:
        compared = gap.compared
        interval = compared.difference.interval
        if gap.without:
            lines.append(f"{gap.name}: {gap.without} cases left out: no ideal look to show")
        if compared.left_out:
            lines.append(
                f"{gap.name}: {compared.left_out} {compared.counted} left out: not played in both"
            )
        if compared.difference.outcome == "tie" and (compared.gained or compared.lost):
            lost, gained = len(compared.lost) / interval.n, len(compared.gained) / interval.n
            if interval.value:
                needed = cases_needed(lost, gained)
                lines.append(
                    f"{gap.name}: {needed:,} independent cases would tell a gap of this size apart"
                )
    return lines
