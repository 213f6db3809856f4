"""`medgym train dpo-benchmark`: several losses on the same pairs."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json
from medgym.commands.shared_options import AllowedHosts, AsJson
from medgym.errors import UserError, missing_library

from ..run.processes import is_first, one_voice
from .allowed import AllowedReports


@one_voice()
def dpo_benchmark(
    recipe: Annotated[str, typer.Argument(help="A recipe that trains by [dpo], such as dpo-tiny.")],
    out: Annotated[
        Path, typer.Option(help="The folder of all its runs; those that were interrupted resume.")
    ],
    losses: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Losses, joined by commas: copo, mdpo, mmedpo, or terms joined by +, such as "
            "dpo+nll:0.2.",
        ),
    ] = "dpo,dpo+nll,copo,mdpo,mmedpo",
    seeds: Annotated[
        str, typer.Option(metavar="A,B", help="Seeds, joined by commas: a run of each.")
    ] = "0,1,2",
    allow_host: AllowedHosts = None,
    allow_report: AllowedReports = None,
    as_json: AsJson = False,
) -> None:
    """Compare losses of DPO on the same pairs, from the same cold start, under several seeds.

    Example: medgym train dpo-benchmark dpo-tiny --losses dpo,dpo+nll:0.2 --out runs/losses
    """
    try:
        from ..dpo import benchmark
        from ..dpo.losses import read_losses
        from ..recipe.schema import load_recipe
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    named, chosen = read_losses(losses), _numbers(seeds)
    loaded, text = load_recipe(recipe)
    rows = benchmark.benchmark(loaded, text, named, chosen, out)
    if not is_first():
        return
    if as_json:
        print_json([row.as_dict() for row in rows])
    else:
        benchmark.print_rows(rows, loaded, chosen)
        print(f"everything is in {out}")


def _numbers(text: str) -> list[int]:
    """The seeds that a text names.

    Raises:
        UserError: it names none, or one twice, or something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len({*parts}) < len(parts):
        raise UserError(f"the seeds are {text!r}; fix: different whole numbers, such as 0,1,2")
    return [int(part) for part in parts]
