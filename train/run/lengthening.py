"""A training that is resumed with another last step: what is done again, and what is noted.

The stages that depend on the number of steps are struck from those that are done. GRPO, or where a
recipe has none DPO, resumes from its last checkpoint, and the policies are judged again. What was
found before stays beside it, under a name with its step.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers.trainer_utils import get_last_checkpoint

from medgym.errors import UserError
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder

from .processes import PERIOD


def table_of(recipe: Mapping[str, Any]) -> str:
    """The table whose last step `--max-steps` sets; its stage has the same name."""
    return "dpo" if recipe.get("dpo") and not recipe.get("grpo") else "grpo"


def stages_of(recipe: Mapping[str, Any]) -> tuple[str, str]:
    """The stages that are done again, by their names."""
    return table_of(recipe), "judge"


def set_steps(folder: RunFolder, wanted: Mapping[str, Any]) -> None:
    """Have a run continue to the last step of `wanted`, its recipe with that one change.

    The manifest's `history` says what changed, when, at which step, and where earlier results are.

    Raises:
        UserError: the run has gone farther already, or left nothing to resume from.
    """
    table, stages = table_of(wanted), stages_of(wanted)
    place = Place(folder.path) if table == "grpo" else Place(folder.path, table)
    held = folder.manifest["recipe"]
    before, now = held[table].get("max_steps"), int(wanted[table]["max_steps"])
    if wanted[table].get("rounds", 1) > 1:
        raise UserError(
            f"{folder.path} learns in rounds, of which none can be made longer; fix: begin a new "
            f"run with --max-steps {now}"
        )
    seconds = {name: took for name, took in place.stages().items() if name in stages}
    last = get_last_checkpoint(str(place.checkpoints)) if place.checkpoints.is_dir() else None
    done = int(last.rpartition("-")[2]) if last else 0
    if table in seconds and not done:
        raise UserError(
            f"{folder.path} kept no checkpoint to resume from; fix: begin a new run with "
            f"--max-steps {now}"
        )
    final = place.final
    passed = max(done, final.step if table in seconds and final is not None else 0)
    if now < passed:
        raise UserError(
            f"{folder.path} has done {passed} steps and --max-steps is {now}; fix: ask for "
            f"{passed} or more, or begin a new run"
        )
    entry: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "changed": {f"{table}.max_steps": [before, now]},
        "at_step": done,
        "seconds": seconds,
    }
    if place.results.exists():
        entry["results"] = f"results-{done}.json"
        place.results.rename(folder.path / entry["results"])
    report = folder.path / "report.png"
    if report.exists():
        report.rename(folder.path / f"report-{done}.png")
    history = [*folder.manifest.get("history", []), entry]
    place.reopen(*stages)
    folder.note(recipe=dict(wanted), status="running", history=history)


def wait_for_steps(folder: Path, steps: int) -> None:
    """Wait until the first process has set the last step, before its stages are looked at."""

    def held() -> object:
        recipe = RunFolder.open(folder).manifest["recipe"]
        return recipe[table_of(recipe)].get("max_steps")

    while held() != steps:
        time.sleep(PERIOD)
