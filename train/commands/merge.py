"""`medgym train merge`: an adapter into its base."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json
from medgym.commands.shared_options import AsJson
from medgym.errors import missing_library


def merge(
    adapter: Annotated[
        Path, typer.Argument(help="An adapter's folder, or a run's: its best or newest adapter.")
    ],
    out: Annotated[Path, typer.Argument(help="Where the model goes; the folder must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Merge an adapter into its base: an ordinary checkpoint, processor and all.

    Example: medgym train merge runs/tiny models/tiny-grpo
    """
    try:
        from ..models.merging import merge as merged
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    folder = merged(adapter, out)
    if as_json:
        print_json({"model": str(folder)})
    else:
        print(folder)
