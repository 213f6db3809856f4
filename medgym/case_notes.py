"""What a result has to say of the cases that it is about: their notes, and the rows left out.

A source declares what is wrong with a split as it was published (`Source.notes`), and drops rows to
which no answer can be right. Neither stops a run, so both go into its results.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from medgym.cases import CaseList

NAMED = 5
"""How many of the dropped rows are named; the others are counted."""


def notes_of(lists: Iterable[tuple[str, CaseList]]) -> dict[str, Any]:
    """What `results.json` and a run's manifest hold of the cases that a run uses.

    `notes` and `dropped` are there only where there is something to say.

    Args:
        lists: the spec of each list of cases, and the list.
    """
    notes: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for spec, cases in dict(lists).items():
        notes += [{"cases": spec, "note": note} for note in cases.notes]
        if cases.dropped:
            first = [{"place": row[0], "why": row[1]} for row in cases.dropped[:NAMED]]
            dropped.append({"cases": spec, "rows": len(cases.dropped), "first": first})
    return {**({"notes": notes} if notes else {}), **({"dropped": dropped} if dropped else {})}


def note_lines(results: Mapping[str, Any]) -> list[str]:
    """The same as lines to be printed below a table of results."""
    lines = [f"note on {each['cases']}: {each['note']}" for each in results.get("notes", ())]
    for each in results.get("dropped", ()):
        first = each["first"][0]
        rows = "1 row makes" if each["rows"] == 1 else f"{each['rows']:,} rows make"
        lines.append(
            f"note on {each['cases']}: {rows} no case, such as {first['place']} ({first['why']})"
        )
    return lines
