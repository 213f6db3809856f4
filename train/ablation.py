"""What each part of a consultation's training is worth: the ablation table of MMedAgent-RL.

The whole is trained and judged once, and its judging already leaves out triage, the specialists and
the attending by turns. The curriculum is left out by training the attending again: without it, on
easy cases alone, on easy and medium ones; base, triage, opinions and number of steps are the same.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.runs import RunFolder, toml
from medgym.store import write_atomic

from .consult import run_consultation
from .consult_report import NAMES
from .recipe import Recipe, StageTable

WHOLE = "whole"
SHARED = ("cold_start", "opinions", "adapters/triage")
"""What the variants take over from the whole as it is."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was judged, and its figures as `results.json` has them."""

    name: str
    figures: dict[str, Any]


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipes without the curriculum, or with its first stages alone.

    Raises:
        UserError: the recipe has no curriculum to leave out.
    """
    stages = recipe.marl.stages
    if len(stages) < 2:
        raise UserError(
            f"{recipe.name} has no curriculum of several stages; mend: give it [[marl.stages]]"
        )

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
    return found


def ablate(recipe: Recipe, folder: Path) -> list[Row]:
    """Train and judge the whole and its variants, what is done already excepted.

    Raises:
        UserError: no consultation, or one without a curriculum.
    """
    if recipe.consultation is None:
        raise UserError(
            f"{recipe.name} trains no consultation; mend: name a recipe with [consultation]"
        )
    changed = variants(recipe)
    whole = _run(recipe, folder / WHOLE, None)
    rows = [Row(NAMES.get(name, name), figures) for name, figures in whole["policies"].items()]
    for name, variant in changed.items():
        results = _run(variant, folder / name.replace(" ", "_"), folder / WHOLE)
        rows.append(Row(f"consultation, {name}", results["policies"]["attending"]))
    table = [{"name": row.name} | row.figures for row in rows]
    write_atomic(folder / "ablation.json", json.dumps(table, indent=1).encode())
    return rows


def _run(recipe: Recipe, folder: Path, whole: Path | None) -> dict[str, Any]:
    if not (folder / "manifest.json").exists():
        asked = json.loads(recipe.model_dump_json(exclude_none=True))
        run = RunFolder.create(folder, toml({"recipe": json.dumps(asked)}), recipe=asked)
        if whole is not None:
            _share(whole, run.path)
    results = run_consultation(recipe, folder)
    done = RunFolder.open(folder)
    if done.manifest["status"] == "running":
        done.finish()
    return results


def _share(whole: Path, folder: Path) -> None:
    for name in SHARED:
        if not (whole / name).exists():  # opinions, where triage chose nobody
            continue
        shutil.copytree(whole / name, folder / name, dirs_exist_ok=True)
    seconds = json.loads((whole / "stages.json").read_text())
    kept = {s: t for s, t in seconds.items() if s.split()[0] in ("base", "cold_start", "triage")}
    write_atomic(folder / "stages.json", json.dumps(kept, indent=1).encode())


def print_rows(rows: list[Row]) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="ablation")
    for heading in ("what", "accuracy (sampled)", "95 % interval", "greedy"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        f = row.figures
        interval = f"{f['low']:.1%} to {f['high']:.1%}"
        table.add_row(row.name, f"{f['accuracy']:.1%}", interval, f"{f['greedy']:.1%}")
    Console().print(table)
