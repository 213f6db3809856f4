"""`medgym train ablate`: what each part of a consultation's training is worth."""

from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json
from medgym.commands.shared_options import AllowedHosts, AsJson
from medgym.errors import missing_library

from ..run.processes import is_first, one_voice
from .allowed import AllowedReports


@one_voice()
def ablate(
    recipe: Annotated[str, typer.Argument(help="A recipe that trains a consultation.")],
    out: Annotated[
        Path, typer.Option(help="The folder of all its runs; those that were interrupted resume.")
    ],
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's seed.")] = None,
    allow_host: AllowedHosts = None,
    allow_report: AllowedReports = None,
    as_json: AsJson = False,
) -> None:
    """Train a consultation whole and without its curriculum, and judge it without each part.

    Example: medgym train ablate consult-tiny --out runs/ablation
    """
    try:
        from ..consultation import ablation
        from ..consultation.check import check as check_consultation
        from ..recipe.schema import load_recipe
        from ..run.opened import Run
        from ..run.stages import START, check
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    loaded, _ = load_recipe(recipe, seed=seed)
    run = Run(loaded, out)
    check(run, START)
    ablation.variants(loaded)  # which refuses what has nothing to leave out
    check_consultation(run)
    rows = ablation.ablate(loaded, out)
    if not is_first():
        return
    if as_json:
        print_json([row.as_dict() for row in rows])
    else:
        ablation.print_rows(rows)
