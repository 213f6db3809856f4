"""The command `medgym list`: what is registered, of medgym and of other packages."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.purpose import missing_library, purpose
from medgym.commands.shared_options import AsJson
from medgym.errors import unknown
from medgym.failures import reason_of
from medgym.registry import KINDS

LISTED = tuple(kind for kind in KINDS if kind not in ("commands", "local_models"))


def list_plugins(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help=f"One of {', '.join(LISTED)}; without it, all are named."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List tools, policies, rubrics, sources, recipes and other plug-ins, with a line each.

    Example: medgym list tools
    """
    if kind is None:
        known = {each: [point.name for point in _points(each)] for each in LISTED}
        if as_json:
            print_json(known)
        else:
            print_table([(each, ", ".join(found) or "none") for each, found in known.items()])
        return
    if kind not in LISTED:
        raise unknown("kind of plug-in", kind, LISTED)
    points = _points(kind)
    rows = [_row(point, points) for point in points]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(f"no {kind} are registered")
        return
    print_table([(str(row["name"]), _line(row)) for row in rows])


def _points(kind: str) -> list[EntryPoint]:
    return sorted(entry_points(group=f"medgym.{kind}"), key=lambda point: point.name)


def _row(point: EntryPoint, points: Sequence[EntryPoint]) -> dict[str, str | None]:
    others = [_package(p) for p in points if p.name == point.name and p != point]
    fault = f"also registered by {others[0]}" if others else _fault(point)
    return {
        "name": point.name,
        "about": purpose(point),
        "package": _package(point),
        "fault": fault,
    }


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def _fault(point: EntryPoint) -> str | None:
    """Why it does not load. What medgym ships is not imported for this; other packages' are."""
    if _package(point) == "medgym":
        library = missing_library(point)
        return f"{library} is not installed" if library is not None else None
    try:
        point.load()
    except Exception as error:  # another package's module raises what it likes
        return reason_of(error)
    return None


def _line(row: dict[str, str | None]) -> str:
    parts = [str(row["about"])]
    if row["package"] != "medgym":
        parts.append(f"[{row['package']}]")
    if row["fault"] is not None:
        parts.append(f"does not load: {row['fault']}")
    return " ".join(part for part in parts if part)
