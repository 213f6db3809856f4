"""What each part of a consultation's training is worth: the ablation table of MMedAgent-RL.

The whole is trained and judged once; its judging already leaves out triage, the specialists and the
training of the attending, one at a time. For the curriculum the attending is trained again: without
it, on easy cases only, on easy and medium ones. Base, triage, number of steps and (in a single
round) opinions stay the same. For triage the attending is also trained again, without a curriculum:
on the opinions of all specialties, as nearly as many as can be.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.commands.printing import print_columns
from medgym.consultation.recipe import recipe_of
from medgym.errors import UserError
from medgym.storage.atomic import check_writable, write_atomic
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.toml import toml_text

from ..recipe.schema import Recipe, StageTable
from ..run.fingerprint import fingerprints
from ..run.folder import changed, check_code, plain
from ..run.judging import Figures
from ..run.opened import Run
from ..run.processes import is_first
from ..run.report import RATES, rate_cells
from .check import plug_ins
from .report import NAMES
from .run import run_consultation

WHOLE = "whole"
OWN = ("attending", "single")
"""The adapters that a variant trains itself; it takes the others from the whole."""


@dataclass(frozen=True)
class AblationRow:
    """A line of the table: what was judged, and its figures as in `results.json`."""

    name: str
    figures: Figures

    def as_dict(self) -> dict[str, Any]:
        """As `ablation.json` holds it."""
        return {"name": self.name, **self.figures}


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipes without the curriculum, with only its first stages, and without triage.

    Raises:
        UserError: the recipe trains no consultation, or has no curriculum to leave out.
    """
    consultation = recipe.consultation
    if consultation is None:
        raise UserError(
            f"{recipe.name} trains no consultation; fix: name a recipe with [consultation]"
        )
    stages = recipe.marl.stages
    if len(stages) < 2:
        raise UserError(
            f"{recipe.name} has no curriculum of several stages; fix: give it [[marl.stages]]"
        )

    # A variant that goes blind is a finding, and no reason to stop: on easy cases only, the
    # attending learns to repeat opinions.
    recipe = recipe.model_copy(update={"sight": recipe.sight.model_copy(update={"every": 0})})

    def with_stages(kept: tuple[StageTable, ...], rehearse: float) -> Recipe:
        whole = sum(stage.share for stage in kept)
        scaled = tuple(s.model_copy(update={"share": s.share / whole}) for s in kept)
        changes = {"stages": scaled, "rehearse": rehearse, "single": False}
        return recipe.model_copy(update={"marl": recipe.marl.model_copy(update=changes)})

    marl = recipe.marl.model_copy(update={"stages": (), "single": False})
    found = {"no curriculum": recipe.model_copy(update={"marl": marl})}
    for count in range(1, len(stages)):
        name = " and ".join(stage.difficulty for stage in stages[:count])
        # A stage by itself is not rehearsed: its cases are of one difficulty.
        found[f"{name} only"] = with_stages(stages[:count], 0.0)
    if consultation.get("triage", True):
        tables = {"consultation": consultation, "roles": recipe.roles}
        fixed = recipe_of(tables, recipe.name).without_triage()
        changes = {"triage": False, "opinions": fixed.opinions}
        # Also without the curriculum: there are too few cases on which all specialties are right.
        found["no curriculum, no triage"] = recipe.model_copy(
            update={"marl": marl, "consultation": consultation | changes}
        )
    return found


def ablate(recipe: Recipe, folder: Path) -> list[AblationRow]:
    """Train and judge the whole and its variants; what is done already is kept.

    Raises:
        UserError: as `variants`.
    """
    changed = variants(recipe)
    whole = _run(recipe, folder / WHOLE, None)
    rows = [
        AblationRow(NAMES.get(name, name), figures) for name, figures in whole["policies"].items()
    ]
    for name, variant in changed.items():
        results = _run(variant, folder / re.sub(r"\W+", "_", name), folder / WHOLE)
        rows.append(AblationRow(f"consultation, {name}", results["policies"]["attending"]))
    table = [row.as_dict() for row in rows]
    if is_first():
        write_atomic(folder / "ablation.json", json.dumps(table, indent=1).encode())
    return rows


def _run(recipe: Recipe, folder: Path, whole: Path | None) -> Figures:
    run = _folder(recipe, folder, whole) if is_first() else None
    results = run_consultation(Run(recipe, folder))
    if run is not None and run.manifest["status"] == "running":
        run.finish()
    return results


def _folder(recipe: Recipe, folder: Path, whole: Path | None) -> RunFolder:
    asked, used = plain(recipe), plug_ins(Run(recipe, folder))
    if (folder / "manifest.json").exists():
        run = RunFolder.open(folder)
        run.claim()
        if changed(run.manifest.get("recipe") or {}, asked):
            raise UserError(
                f"{folder} holds a run of another recipe or seed; fix: choose another --out, or "
                "ask for the same"
            )
        check_code(run, used)
    else:
        text = toml_text({"recipe": json.dumps(asked)})
        codes = fingerprints(each for stage in used.values() for each in stage)
        run = RunFolder.create(folder, text, recipe=asked, plug_ins=codes)
    if whole is not None and not (folder / "stages.json").exists():
        _share(whole, folder)
    return run


def _share(whole: Path, folder: Path) -> None:
    shared = [whole / "cold_start", whole / "opinions"]
    shared += [path for path in (whole / "adapters").iterdir() if path.name not in OWN]
    for path in shared:
        if path.exists():  # there are no opinions where triage chose no specialty
            copied = folder / path.relative_to(whole)
            check_writable(copied / path.name)
            shutil.copytree(path, copied, dirs_exist_ok=True)
    seconds = Place(whole).stages()
    same = ("base", "cold_start", "specialists", "outcomes", "triage")
    kept = {stage: took for stage, took in seconds.items() if stage.split()[0] in same}
    write_atomic(folder / "stages.json", json.dumps(kept, indent=1).encode())


def print_rows(rows: list[AblationRow]) -> None:
    """The table."""
    print_columns(("ablation", *RATES), [(row.name, *rate_cells(row.figures)) for row in rows])
