"""What a check reports."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warn", "fail"]


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
