"""`medgym train`: run a recipe. Imports nothing heavy before it knows what is asked."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.errors import UserError, missing_extra


def train(
    recipe: Annotated[str, typer.Argument(help="A registered recipe, or the path of a TOML file.")],
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; by default runs/NAME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's seed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Train a policy by a recipe: cold start, GRPO, judging.

    Example: medgym train tiny --seed 1 --out runs/tiny-1
    """
    try:
        from .pipeline import run
        from .recipe import load_recipe
        from .report import draw_report, print_results
    except ModuleNotFoundError as error:
        raise missing_extra("train", error) from error
    loaded, text = load_recipe(recipe, seed=seed)
    folder = out or Path("runs") / loaded.name
    _open(folder, loaded, text, resume)
    results = run(loaded, folder)
    draw_report(loaded, folder)
    _finish(folder)
    if as_json:
        print(json.dumps(results))
    else:
        print_results(results, folder)


def _open(folder: Path, recipe: Any, text: str, resume: bool) -> None:
    from medgym.runs import RunFolder

    wanted = json.loads(recipe.model_dump_json())
    if not resume:
        RunFolder.create(folder, text, recipe=wanted, seeds={"run": recipe.seed})
    elif RunFolder.open(folder).manifest.get("recipe") != wanted:
        raise UserError(f"{folder} holds another recipe or seed; mend: --resume with the same one")


def _finish(folder: Path) -> None:
    from medgym.runs import RunFolder

    RunFolder.open(folder).finish()
