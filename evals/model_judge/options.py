"""The options by which a command has answers judged by a model."""

from typing import Annotated

import typer

JudgedBy = Annotated[
    str | None,
    typer.Option(
        "--judged-by",
        metavar="SPEC",
        help="Also have a policy grade open answers and reports, beside the rules.",
    ),
]
JudgeAll = Annotated[
    bool,
    typer.Option(
        "--judge-all",
        help="Have it grade all answers; shows how far it agrees with the rules.",
    ),
]
