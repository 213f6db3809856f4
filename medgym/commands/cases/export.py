"""The command `medgym cases export`: cases as a `datasets.Dataset` with embedded images."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.cases import open_cases
from medgym.commands.printing import print_json, safe_line
from medgym.commands.shared_options import AsJson, CasesSpec
from medgym.progress import progress

SHOWN = 10


def export(
    spec: CasesSpec,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")],
    no_gold: Annotated[
        bool, typer.Option("--no-gold", help="Leave out answers, as for a test set of others.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write cases as a `datasets.Dataset` that TRL, verifiers or a push to the Hub can take.

    Columns are prompt, images (PNG, at most 1024 pixels a side) and answer, and what a case says
    beside. Read it by datasets.load_from_disk(DIR).

    Example: medgym cases export phantom:train[:100] --out phantoms
    """
    from medgym.case_checks.export import export_cases

    found = open_cases(spec)
    with progress("cases", len(found)) as advance:
        made = export_cases(found, out, gold=not no_gold, advance=lambda: advance(1))
    if as_json:
        unreadable = [{"case": case, "reason": why} for case, why in made.unreadable]
        print_json({"out": str(out), "cases": made.rows, "unreadable": unreadable})
        return
    print(f"{out}: {made.rows:,} cases; read them by datasets.load_from_disk({str(out)!r})")
    for case, why in made.unreadable[:SHOWN]:
        print(safe_line(f"left out: {case}: {why}", None))
    if len(made.unreadable) > SHOWN:
        print(f"left out: {len(made.unreadable) - SHOWN:,} more")
