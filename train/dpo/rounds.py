"""`[dpo] rounds`: the policy plays new cases, pairs are made of them, it learns, and again.

A round's groups, pairs and checkpoints lie in folders of its own, and its adapter is published
before the next round begins. `rounds.jsonl` has a line for each round that is done; a run that was
killed resumes in the one where it was. The reference of a round is the policy as the round begins.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medgym.errors import RunError, UserError
from medgym.storage.adapters import Version
from medgym.storage.atomic import append_line
from medgym.storage.json_files import read_lines
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder

from ..grpo.evaluation import HeldOut
from ..models.checkpoint import load_model
from ..pairs.built import pairs_of_round
from ..pairs.rolled_out import cases_of_round, folder_of, plays
from ..recipe.schema import Recipe
from ..recipe.steps import check_steps
from ..run.opened import Run
from ..run.processes import everyone, is_first
from ..run.stage import ReportPanel
from .config import check_dpo
from .tables import of_later
from .training import train_dpo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROUNDS = "rounds.jsonl"


@dataclass(frozen=True)
class RoundPlace(Place):
    """Where one of several rounds keeps its checkpoints and metrics; adapters are the role's."""

    number: int = 1

    def _own(self, name: str) -> Path:
        return self.folder / f"{name}-{self.role}-{self.number}"


@dataclass(frozen=True)
class Round:
    """A round that is done.

    Attributes:
        number: from 1 on.
        step: under which its adapter is published: steps of all rounds so far.
        cases, pairs: of which it learned.
        right, answered: shares of its groups' episodes, by the policy as the round began.
    """

    number: int
    step: int
    cases: int
    pairs: int
    right: float
    answered: float


def rounds_of(recipe: Recipe) -> int:
    """How many rounds a recipe asks for."""
    return int(recipe.dpo.get("rounds", 1))


def check_rounds(run: Run) -> None:
    """Make sure that several rounds can be had.

    Raises:
        UserError: pairs were made before, there are too few cases, or there is no adapter.
    """
    recipe, rounds = run.recipe, rounds_of(run.recipe)
    if rounds == 1:
        return
    if not plays(run):
        given = "folder" if recipe.pairs.folder is not None else "run"
        raise UserError(
            f"{recipe.name}: [dpo] rounds = {rounds}, and the pairs of [pairs] {given} stay the "
            f"same; fix: remove {given}, so that the policy plays new cases in each round"
        )
    if not recipe.lora:
        raise UserError(
            f"{recipe.name}: [dpo] rounds needs [lora]: a round begins with the adapter of the "
            "last one; fix: add [lora]"
        )
    cases_of_round(run, 1, rounds)
    later = recipe.model_copy(update={"dpo": of_later(recipe.dpo)})
    check_steps(later.dpo, "[dpo.later]", "remove it")
    check_dpo(later)


def train_rounds(run: Run, place: Place) -> None:
    """Do the rounds that are not done yet.

    Args:
        place: the stage's, with its role.
    """
    rounds = rounds_of(run.recipe)
    done = rounds_done(run.folder)
    if done and done[-1].number > rounds:
        raise RunError(f"{run.folder} has done {done[-1].number} rounds; fix: ask for as many")
    for number in range(len(done) + 1, rounds + 1):
        made = _round(run, place, number, rounds, done[-1] if done else None)
        if is_first():
            append_line(run.folder / ROUNDS, json.dumps(vars(made)))
        everyone(None)
        done.append(made)


def _round(run: Run, place: Place, number: int, rounds: int, last: Round | None) -> Round:
    recipe = run.recipe
    if number > 1:
        recipe = recipe.model_copy(update={"dpo": of_later(recipe.dpo)})
    cases = cases_of_round(run, number, rounds)
    adapter = None if last is None else version_of(run.folder, place.role, last.step)
    folder = pairs_of_round(run, cases, number, adapter)
    model, processor = load_model(run.place.cold_start, recipe.model.options.in_run)
    judged = run.held_out
    before = 0 if last is None else last.step
    step = train_dpo(
        recipe.model_copy(update={"seed": run.seed(f"round {number}") % 2**31}),
        model,
        processor,
        folder.pairs(),
        folder.images.get,
        RoundPlace(place.folder, place.role, number),
        weight=recipe.pairs.weight,
        cases=cases,
        rules=run.rules(run.paired),
        sampling=run.sampling(),
        start=None if adapter is None else adapter.path,
        before=before,
        held_out=HeldOut(judged, run.rules(judged), run.seed("held out")) if judged else None,
        what=f"DPO round {number}",
    )
    played = list(RunFolder(folder_of(run, number)).trajectories)
    return Round(
        number=number,
        step=before + step,
        cases=len(cases),
        pairs=len(folder),
        right=sum(each.correct for each in played) / len(played),
        answered=sum(each.answer is not None for each in played) / len(played),
    )


def version_of(run: Path, role: str, step: int) -> Version:
    """A version of the adapter, which is there."""
    return Version(role, step, run.resolve() / "adapters" / role / str(step))


def rounds_done(run: Path) -> list[Round]:
    """The rounds that a run has done."""
    path = run / ROUNDS
    return [Round(**row) for row in read_lines(path)] if path.exists() else []


def panels(run: Path) -> tuple[ReportPanel, ...]:
    """How the policy answered in the groups of each round."""
    done = rounds_done(run)
    return (ReportPanel(partial(_draw, done)),) if done else ()


def _draw(done: Sequence[Round], axes: "Axes") -> None:
    numbers = [each.number for each in done]
    axes.plot(numbers, [each.right for each in done], "o-", color="#0072b2", label="right")
    axes.plot(numbers, [each.answered for each in done], "o-", color="#888888", label="answered")
    axes.set_xticks(numbers)
    axes.set(title="Rounds", xlabel="round", ylabel="share of its groups", ylim=(0, 1.05))
    axes.legend(loc="lower right")
