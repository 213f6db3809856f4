"""`medgym train RECIPE`, and beside it `train merge`, `audit`, `dpo-benchmark` and `ablate`.

Imports nothing heavy before it knows what is asked.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from medgym.case_notes import notes_of
from medgym.commands.printing import print_json
from medgym.commands.shared_options import AllowedHosts, AsJson
from medgym.errors import UserError, missing_library
from medgym.interrupt import resumed_by
from medgym.registry import names

from ..run.processes import one_voice
from .ablate import ablate
from .allowed import AllowedReports
from .audit import audit
from .dpo_benchmark import dpo_benchmark
from .merge import merge

if TYPE_CHECKING:
    from ..recipe.schema import Recipe

BY_RECIPE = "recipe"
"""What the group calls the command that has no name of its own."""


class _Train(TyperGroup):
    """A group that takes what is no sub-command's name for the training by a recipe."""

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
app.command("ablate")(ablate)
app.command("dpo-benchmark")(dpo_benchmark)
app.command("merge")(merge)


@app.callback()
def group() -> None:
    """Train a policy by a recipe; merge an adapter; audit a rubric; compare losses; ablate."""


@app.command(BY_RECIPE, cls=_ByRecipe)
@one_voice()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help=f"The path of a TOML file, or a registered recipe: {', '.join(names('recipes'))}."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; by default runs/NAME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's seed.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the interrupted run in OUT.")
    ] = False,
    max_steps: Annotated[
        int | None,
        typer.Option(
            "--max-steps",
            min=1,
            help="In place of the steps of GRPO in the recipe, or else of DPO. With --resume, a "
            "finished run continues to it.",
        ),
    ] = None,
    allow_host: AllowedHosts = None,
    allow_report: AllowedReports = None,
    as_json: AsJson = False,
) -> None:
    """Train a policy by a recipe: cold start, curriculum, GRPO, judging; or a consultation's roles.

    Example: medgym train tiny --seed 1 --out runs/tiny-1

    Beside it stand `medgym train merge RUN OUT` (a run's adapter into its base), `medgym train
    audit RECIPE` (what cheats would earn by its rubric), `medgym train dpo-benchmark RECIPE`
    (several losses of DPO on the same pairs) and `medgym train ablate RECIPE` (what each part of a
    consultation's training is worth).
    """
    try:
        from ..consultation import report as consult_report
        from ..consultation.check import check as check_consultation
        from ..consultation.check import plug_ins
        from ..consultation.run import run_consultation
        from ..recipe.outside import run_folder
        from ..recipe.schema import load_recipe
        from ..run import report, stages
        from ..run.folder import open_folder
        from ..run.lengthening import wait_for_steps
        from ..run.opened import Run
        from ..run.processes import is_first
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    loaded, text = load_recipe(recipe, seed=seed)
    if max_steps is not None:
        loaded = _with_steps(loaded, max_steps)
    folder = out or run_folder(loaded)
    run = Run(loaded, folder)
    consults = loaded.consultation is not None
    chosen = stages.START if consults else stages.STAGES
    stages.check(run, chosen)
    if consults:
        check_consultation(run)
    kept = None
    if is_first():
        used = stages.plug_ins(run, chosen) | (plug_ins(run) if consults else {})
        asked = max_steps is not None
        kept = open_folder(folder, loaded, text, used, resume=resume, may_lengthen=asked)
        if notes := notes_of(run.named_cases):
            kept.note(**notes)
    elif resume and max_steps is not None:
        wait_for_steps(folder, max_steps)
    resumed_by(f"add --resume: what is done is kept in {folder}")
    results = run_consultation(run) if consults else stages.train(run)
    if kept is None:
        return
    if consults:
        consult_report.draw_report(loaded, folder)
    else:
        report.draw_report(run)
    kept.finish()
    if as_json:
        print_json(results)
    elif consults:
        consult_report.print_results(results, folder)
    else:
        report.print_results(results, run)


def _with_steps(recipe: "Recipe", steps: int) -> "Recipe":
    """The recipe with another number of steps of GRPO, or of DPO where it has no GRPO."""
    table = "grpo" if recipe.grpo or not recipe.dpo else "dpo"
    keys = getattr(recipe, table)
    if recipe.consultation is not None or not keys:
        lacks = "one number of steps for all its roles"
        if recipe.consultation is None:
            lacks = "[grpo] or [dpo]"
        raise UserError(
            f"the recipe {recipe.name} has no {lacks}, so --max-steps says nothing; fix: omit it"
        )
    return recipe.model_copy(update={table: keys | {"max_steps": steps}})
