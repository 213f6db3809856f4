"""The command `medgym cases check`: whether cases are what they claim."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import RunError

SHOWN = 10
"""Pairs of cases that are printed; --out and --json have all."""


def check(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE|CASES",
            help="What to check: a source (all its splits), cases of one split, or FILE.jsonl.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write the report and a picture of what leaks into DIR."
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, help="At most this many cases of a split; of phantoms 800."),
    ] = None,
    no_probe: Annotated[
        bool,
        typer.Option("--no-probe", help="Omit what takes a source long, as a supervised probe."),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Look for exact copies only, not for near duplicates.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check cases: that they can be scored, that images open, and that no split leaks into another.

    The same command resumes an interrupted check. Exit status 1 where a check fails.

    Example: medgym cases check phantom --n 100
    """
    from medgym.case_checks.run import PICTURE, REPORT, check_cases

    found = check_cases(spec, most=n, quick=no_probe, near=not exact, out=out)
    rows = found.report.rows
    if as_json:
        print_json(found.as_dict())
    else:
        for row in rows:
            fix = f"; fix: {row.fix}" if row.fix else ""
            print(safe_line(f"{row.verdict}  {row.check}: {row.figure}{fix}", None))
        for leak in found.leaks[:SHOWN]:
            kind = "exact copy" if leak.exact else f"near duplicate, likeness {leak.likeness:.2f}"
            print(safe_line(f"  {leak.first.case} and {leak.second.case}: {kind}"))
        if len(found.leaks) > SHOWN:
            print(f"  {len(found.leaks) - SHOWN:,} more such pairs (--out DIR or --json)")
        if out is not None:
            drawn = f" and {out / PICTURE}" if found.leaks else ""
            print(f"the report is {out / REPORT}{drawn}")
    failed = [row for row in rows if row.verdict == "fail"]
    if failed:
        fix = f"; fix: {failed[0].fix}" if failed[0].fix else ""
        raise RunError(
            f"{len(failed)} of {len(rows)} checks failed, the first: {failed[0].check}: "
            f"{failed[0].figure}{fix}"
        )
