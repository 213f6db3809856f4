"""`medgym train RECIPE`, and beside it `train merge`, `train audit` and `train ablate`.

Imports nothing heavy before it knows what is asked.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from medgym.errors import UserError, missing_library

from ..rubric_audit.audit import audit

BY_RECIPE = "recipe"
"""What the group calls the command that has no name of its own."""


class _Train(TyperGroup):
    """A group in which whatever is no sub-command's name belongs to the training by a recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[:1] and args[0] != BY_RECIPE and args[0] in self.commands
        left: list[str] = super().parse_args(ctx, args if named else [BY_RECIPE, *args])
        return left


class _ByRecipe(TyperCommand):
    """The command that is called by the group's own name."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        if parent is None:
            return super().make_context(info_name, args, parent, **extra)
        return super().make_context(parent.info_name, args, parent.parent, **extra)


app = typer.Typer(cls=_Train, add_completion=False)
app.command("audit")(audit)


@app.callback()
def group() -> None:
    """Train a policy by a recipe; merge an adapter; audit a rubric; ablate a consultation."""


@app.command(BY_RECIPE, cls=_ByRecipe)
def train(
    recipe: Annotated[str, typer.Argument(help="A registered recipe, or the path of a TOML file.")],
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; by default runs/NAME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's seed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Train a policy by a recipe: cold start, curriculum, GRPO, judging; or a consultation's roles.

    Example: medgym train tiny --seed 1 --out runs/tiny-1

    Beside it stand `medgym train merge RUN OUT` (a run's adapter into its base), `medgym train
    audit RECIPE` (what cheats would earn by its rubric) and `medgym train ablate RECIPE` (what each
    part of a consultation's training is worth).
    """
    try:
        from ..consultation import report as consult_report
        from ..consultation.check import check as check_consultation
        from ..consultation.run import run_consultation
        from ..recipe.schema import load_recipe
        from ..run import report
        from ..run.processes import is_first
        from ..run.stages import check, run
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    loaded, text = load_recipe(recipe, seed=seed)
    check(loaded)
    consults = loaded.consultation is not None
    if consults:
        check_consultation(loaded)
    folder = out or Path("runs") / loaded.name
    kept = _open(folder, loaded, text, resume) if is_first() else None
    try:
        results = (run_consultation if consults else run)(loaded, folder)
    except KeyboardInterrupt:
        print(f"what is done is kept in {folder}; --resume goes on with it", file=sys.stderr)
        raise
    if kept is None:
        return
    shown: Any = consult_report if consults else report
    shown.draw_report(loaded, folder)
    kept.finish()
    if as_json:
        print(json.dumps(results))
    else:
        shown.print_results(results, folder)


def _open(folder: Path, recipe: Any, text: str, resume: bool) -> Any:
    """The run's folder, new or gone on with, into which no other process writes meanwhile."""
    from medgym.spec import without_credentials
    from medgym.storage.run_folder import RunFolder

    text = without_credentials(text)
    wanted = json.loads(without_credentials(recipe.model_dump_json()))
    if not resume and not (folder / "manifest.json").is_file():
        return RunFolder.create(folder, text, recipe=wanted, seeds={"run": recipe.seed})
    run = RunFolder.open(folder)
    run.claim()
    same = run.manifest.get("recipe") == wanted
    if resume and not same:
        raise UserError(f"{folder} holds another recipe or seed; fix: --resume with the same one")
    if not resume and same and run.manifest["status"] == "running":
        raise UserError(
            f"{folder} holds a training that was broken off; fix: go on with it by --resume, or "
            "choose another --out"
        )
    return run if resume else RunFolder.create(folder, text)  # which says that it is taken


@app.command("ablate")
def ablate(
    recipe: Annotated[str, typer.Argument(help="A recipe that trains a consultation.")],
    out: Annotated[Path, typer.Option(help="The folder of all its runs; it is gone on with.")],
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's seed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Train a consultation whole and without its curriculum, and judge it without each part.

    Example: medgym train ablate consult-tiny --out runs/ablation
    """
    try:
        from ..consultation import ablation
        from ..consultation.check import check as check_consultation
        from ..recipe.schema import load_recipe
        from ..run.processes import is_first
        from ..run.stages import check
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    loaded, _ = load_recipe(recipe, seed=seed)
    check(loaded)
    ablation.variants(loaded)  # which refuses what has nothing to leave out
    check_consultation(loaded)
    rows = ablation.ablate(loaded, out)
    if not is_first():
        return
    if as_json:
        print(json.dumps([row.as_dict() for row in rows]))
    else:
        ablation.print_rows(rows)


@app.command("merge")
def merge(
    adapter: Annotated[
        Path, typer.Argument(help="An adapter's folder, or a run's: its newest adapter.")
    ],
    out: Annotated[Path, typer.Argument(help="Where the model goes, a folder that is not there.")],
) -> None:
    """Merge an adapter into its base: an ordinary checkpoint, processor and all.

    Example: medgym train merge runs/tiny models/tiny-grpo
    """
    try:
        from ..models.lora import merge as merged
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    print(merged(adapter, out))
