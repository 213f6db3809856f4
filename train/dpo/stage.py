"""The DPO stage: the policy after its cold start learns from pairs of episodes."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from medgym.storage.layout import Place

from ..grpo.evaluation import HeldOut
from ..models.checkpoint import load_model
from ..pairs.built import cases_for, check_pairs, of_pairs, pairs_of
from ..recipe.steps import check_steps
from ..run.fingerprint import PlugIn, of_cases, of_play, of_policies
from ..run.opened import Run
from ..run.stage import ReportPanel, Stage, TrainedPolicy
from .config import check_dpo
from .curves import panels
from .rounds import check_rounds, rounds_of, train_rounds
from .rounds import panels as panels_of_rounds
from .training import train_dpo

ROLE = "dpo"
"""Under whose name the stage keeps its things: `adapters/dpo/`, `metrics-dpo.jsonl`, ..."""


class DpoStage(Stage):
    """`[dpo]`, `[pairs]` and `[lora]`: preferences between whole episodes."""

    name: ClassVar[str] = "dpo"
    needs: ClassVar[tuple[str, ...]] = ("cold_start",)
    together: ClassVar[bool] = True

    def wanted(self, run: Run) -> bool:
        """Where the recipe has `[dpo]`."""
        return bool(run.recipe.dpo)

    def check(self, run: Run) -> None:
        """Have TRL look at `[dpo]`; look for the pairs, or for what they are made of."""
        check_dpo(run.recipe)
        check_rounds(run)
        check_pairs(run)
        check_steps(run.recipe.dpo, "[dpo]", "remove [dpo]")

    def plug_ins(self, run: Run) -> Iterator[PlugIn]:
        """What the episodes are played with, and by."""
        yield from of_play(run.recipe, run.paired)
        yield from of_cases(run.held_out)
        yield from of_policies(run.recipe.rollout.policy, *run.recipe.pairs.judges)
        yield from of_pairs(run)

    def do(self, run: Run) -> None:
        """Train, from the cold start or from the last checkpoint, and publish the adapter."""
        if rounds_of(run.recipe) > 1:
            train_rounds(run, place_of(run))
            return
        folder = pairs_of(run)
        model, processor = load_model(run.place.cold_start, run.recipe.model.options.in_run)
        train_dpo(
            run.recipe,
            model,
            processor,
            folder.pairs(),
            folder.images.get,
            place_of(run),
            weight=run.recipe.pairs.weight,
            cases=cases_for(run, folder),
            rules=run.rules(run.paired),
            sampling=run.sampling(),
            held_out=held_out_of(run),
        )

    def policies(self, run: Run) -> Sequence[TrainedPolicy]:
        """The policy after its last step."""
        return (TrainedPolicy(self.name, "DPO", *place_of(run).trained),)

    def panels(self, run: Run) -> Sequence[ReportPanel]:
        """How well pairs are told apart, and whether the policy still answers, step by step."""
        return (*panels(place_of(run).metrics), *panels_of_rounds(run.folder))


def held_out_of(run: Run) -> HeldOut | None:
    """What the policy is judged on while it trains, where `[judge]` asks for it."""
    judged = run.held_out
    return HeldOut(judged, run.rules(judged), run.seed("held out")) if judged else None


def place_of(run: Run) -> Place:
    """Where the stage keeps its things in a run's folder."""
    return Place(run.folder, ROLE)
