"""The command `medgym cases check`: whether cases are what they claim."""

from dataclasses import asdict
from typing import Annotated

import typer

from medgym.case_spec import splits_of
from medgym.cases import open_cases
from medgym.commands.printing import print_json
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError
from medgym.progress import progress


def check(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="What to check: phantom, or cases such as phantom:test."
        ),
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="How many cases to check.")] = 800,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Omit the supervised probe.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that phantoms are what they claim: no overview tells the kind, and the gold is true.

    Exit status 1 where a check fails.

    Example: medgym cases check phantom
    """
    from medgym.sources.phantom.check import check_phantoms

    found = open_cases(f"{spec}:test" if splits_of(spec) else spec)[:n]
    with progress("cases", len(found)) as advance:
        report = check_phantoms(found, probe=not no_probe, progress=lambda done, total: advance(1))
    if as_json:
        print_json([asdict(row) for row in report.rows])
    else:
        for row in report.rows:
            fix = f"; fix: {row.fix}" if row.fix else ""
            print(f"{row.verdict}  {row.check}: {row.figure}{fix}")
    failed = [row for row in report.rows if row.verdict == "fail"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(report.rows)} checks failed, the first: {failed[0].check}; "
            f"fix: {failed[0].fix}"
        )
