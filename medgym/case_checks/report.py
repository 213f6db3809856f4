"""What a check reports."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warn", "fail"]

NAMED = 3
"""How many of what is wrong a row names."""


@dataclass(frozen=True)
class CheckRow:
    """One check: what was checked, how it went, the figure behind it, and what to do (else "")."""

    check: str
    verdict: Verdict
    figure: str
    fix: str = ""


@dataclass(frozen=True)
class CheckReport:
    """All checks of one run, in the order in which they were made."""

    rows: tuple[CheckRow, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed (a warning says what to know, or that there was too little to
        tell)."""
        return all(row.verdict != "fail" for row in self.rows)


def listed(
    check: str,
    wrong: Sequence[tuple[str, str]],
    of: int,
    fix: str = "correct them, or leave them out",
    verdict: str = "fail",
) -> CheckRow:
    """A row on cases that are wrong, each with a reason that may be blank."""
    figure = f"{len(wrong):,} of {of:,} are not" if wrong else f"all {of:,}"
    if not wrong:
        return CheckRow(check, "pass", figure)
    reasons = Counter(reason for _, reason in wrong if reason)
    if reasons:
        figure += f" ({'; '.join(f'{n:,}: {each}' for each, n in reasons.most_common(NAMED))})"
    first = "first: " + ", ".join(each for each, _ in wrong[:NAMED])
    said = f"{fix}; {first}" if fix else first
    return CheckRow(check, "warn" if verdict == "warn" else "fail", figure, said)
