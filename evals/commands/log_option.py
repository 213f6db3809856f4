"""The option `--log-format` of `medgym eval` and `medgym score`."""

from typing import Annotated

import typer

from medgym.commands.printing import safe_line

from ..interchange.logged import Logged
from ..interchange.logs import LogForm

LogFormat = Annotated[
    LogForm | None,
    typer.Option(
        "--log-format",
        help="Also write a log of this harness's form into the run's folder, in logs/.",
    ),
]


def print_logs(logged: Logged | None) -> None:
    """Say which files were written, and what is to be said of them."""
    for line in logged.lines() if logged is not None else ():
        print(safe_line(line, None))
