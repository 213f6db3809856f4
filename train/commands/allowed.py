"""The option by which a user permits what a recipe may not do by itself."""

from typing import Annotated

import typer

from medgym.permissions import allow_reports


def _allow_reports(names: list[str] | None) -> list[str]:
    allow_reports(names or ())
    return names or []


AllowedReports = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-report",
        metavar="NAME",
        callback=_allow_reports,
        help="A service, such as wandb, that the recipe's report_to may send to; may be repeated.",
    ),
]
