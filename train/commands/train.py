"""`medgym train RECIPE`, and beside it `train merge`, `train audit` and `train ablate`.

Imports nothing heavy before it knows what is asked.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from medgym.commands.printing import print_json
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError, missing_library
from medgym.registry import names

from ..run.processes import one_voice
from .ablate import ablate
from .audit import audit
from .merge import merge

if TYPE_CHECKING:
    from medgym.storage.run_folder import RunFolder

    from ..recipe.schema import Recipe

BY_RECIPE = "recipe"
"""What the group calls the command that has no name of its own."""

EMPTY = {"manifest.json", "recipe.toml", "stages.json", "images", "trajectories"}
"""What is in the folder of a run that came to nothing; the last two are empty."""


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
app.command("merge")(merge)


@app.callback()
def group() -> None:
    """Train a policy by a recipe; merge an adapter; audit a rubric; ablate a consultation."""


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
            help="In place of [grpo] max_steps. With --resume, a finished run continues to it.",
        ),
    ] = None,
    as_json: AsJson = False,
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
        from ..run import report, stages
        from ..run.lengthening import wait_for_steps
        from ..run.opened import Run
        from ..run.processes import is_first
    except ModuleNotFoundError as error:
        raise missing_library(error) from error
    loaded, text = load_recipe(recipe, seed=seed)
    if max_steps is not None:
        loaded = _with_steps(loaded, max_steps)
    folder = out or Path("runs") / loaded.name
    run = Run(loaded, folder)
    consults = loaded.consultation is not None
    stages.check(run, stages.START if consults else stages.STAGES)
    if consults:
        check_consultation(run)
    asked = max_steps is not None
    kept = None
    if is_first():
        kept = _open(folder, loaded, text, resume, is_asked=asked)
    elif resume and max_steps is not None:
        wait_for_steps(folder, max_steps)
    try:
        results = run_consultation(run) if consults else stages.train(run)
    except KeyboardInterrupt:
        print(f"what is done is kept in {folder}; resume it with --resume", file=sys.stderr)
        raise
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
    """The recipe with another number of steps of GRPO."""
    if recipe.consultation is not None or not recipe.grpo:
        lacks = "[grpo]" if recipe.consultation is None else "one number of steps for all its roles"
        raise UserError(
            f"the recipe {recipe.name} has no {lacks}, so --max-steps says nothing; fix: omit it"
        )
    return recipe.model_copy(update={"grpo": recipe.grpo | {"max_steps": steps}})


def _open(
    folder: Path, recipe: "Recipe", text: str, resume: bool, *, is_asked: bool = False
) -> "RunFolder":
    """The run's folder, new or resumed; no other process writes into it meanwhile.

    `is_asked` says that another number of steps is asked for.
    """
    from medgym.spec import without_credentials
    from medgym.storage.run_folder import RunFolder, provenance

    from ..recipe.schema import with_defaults
    from ..run.lengthening import set_steps

    text = without_credentials(text)
    wanted = json.loads(without_credentials(recipe.model_dump_json()))
    seeds = {"run": recipe.seed}
    if not resume and not (folder / "manifest.json").is_file():
        return RunFolder.create(folder, text, recipe=wanted, seeds=seeds)
    run = RunFolder.open(folder)
    run.claim()
    held = run.manifest.get("recipe")
    if not isinstance(held, dict):  # a rollout, an evaluation
        return RunFolder.create(folder, text)  # which says that it is taken
    held = with_defaults(held)  # it may be of a version that knew fewer keys
    if not resume and run.manifest["status"] == "running" and _is_empty(folder):
        (folder / "stages.json").unlink(missing_ok=True)
        (folder / "recipe.toml").write_text(text, "utf-8")  # in place: it carries the lock
        run.note(**provenance(), recipe=wanted, seeds=seeds)
        return run
    changed = dict(_changes(held, wanted))
    if resume and changed.keys() == {"grpo.max_steps"} and is_asked:
        set_steps(run, wanted)
        return run
    changes = ", ".join(f"{key}: {values}" for key, values in changed.items())
    if resume and changes:
        raise UserError(
            f"{folder} holds a run of another recipe ({changes}); fix: --resume with the same "
            "recipe and seed, or choose another --out"
        )
    if not resume:
        done = "a finished" if run.manifest["status"] == "done" else "an interrupted"
        other = f" of another recipe ({changes})" if changes else ""
        fix = "choose another --out" if changes else "--resume, or choose another --out"
        raise UserError(f"{folder} holds {done} training{other}; fix: {fix}")
    return run


def _is_empty(folder: Path) -> bool:
    """Whether a run came to nothing: it made no model, image or trajectory of its own."""
    from medgym.storage.layout import Place

    found = list(folder.iterdir())
    if any(path.name not in EMPTY or (path.is_dir() and any(path.iterdir())) for path in found):
        return False
    return Place(folder).stages().keys() <= {"base"}


def _changes(
    held: Mapping[str, object], wanted: Mapping[str, object], before: str = ""
) -> Iterator[tuple[str, str]]:
    """The keys of two recipes that differ, each with both values."""
    for key in sorted(held.keys() | wanted.keys()):
        there, here = held.get(key), wanted.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _changes(there, here, f"{before}{key}.")
        elif there != here:
            yield f"{before}{key}", f"{_short(there)} there, {_short(here)} here"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
