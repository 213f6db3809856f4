"""The command `medgym report`: a page of a run's figures, or of several runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson

from ..reports.page import write_report


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN [RUN...]",
            help="Folders of runs; of a training also FOLDER:POLICY. Further ones are compared "
            "with the first.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.html",
            help="The page; by default report.html in the run's folder, comparison.html in that "
            "of the first of several.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page of figures, charts and failures that any browser opens, without a network.

    Example: medgym report runs/prior runs/oracle
    """
    page = write_report(runs, out)
    if as_json:
        print_json({"page": str(page), "bytes": page.stat().st_size})
        return
    print_table([("page", str(page))])
