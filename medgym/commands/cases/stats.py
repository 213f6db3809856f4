"""The command `medgym cases stats`: what cases hold, counted."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.cases import open_cases
from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson, CasesSpec
from medgym.errors import UserError
from medgym.progress import progress


def stats(
    spec: CasesSpec,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Draw it into a picture too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count answers, their lengths and types, modalities, languages, image sizes, cases of a group.

    Answers are gold: do not show them to whom you test.

    Example: medgym cases stats phantom:test[:100] --out stats.png
    """
    from medgym.case_checks.stats import count_cases, stats_picture

    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no PNG file; fix: name it FILE.png")
    found = open_cases(spec)
    with progress("cases", len(found)) as advance:
        made = count_cases(found, lambda: advance(1))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        stats_picture(made).save(out)
    if as_json:
        print_json(made.as_dict())
        return
    rows = [("cases", f"{made.cases:,}"), ("groups", f"{made.groups:,}")]
    rows.append(("images", f"{made.images:,}"))
    for name, table in made.tables.items():
        rest = made.of[name] - len(table)
        values = [f"{value} {count:,}" for value, count in table.items()]
        rows.append((name, "; ".join(values) + (f"; {rest:,} more values" if rest else "")))
    print_table(rows)
    if out is not None:
        print(f"the picture is {out}")
