"""The KTO stage: the policy after its cold start learns from episodes that are right or wrong.

No pairs are needed: cases that the policy always has right, or never, count too. The episodes are
those of which `[pairs]` would make pairs.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from transformers import TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from medgym.cases import Case
from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.local_model import local_model
from medgym.progress import progress
from medgym.storage.adapters import published
from medgym.storage.json_files import read_lines
from medgym.storage.layout import Place
from medgym.trajectory import Trajectory

from ..dpo.watch import PolicyWatch
from ..grpo.callbacks import NewEnd, has_stopped
from ..grpo.logs.files import MetricsFile
from ..grpo.rollouts import StepRollouts
from ..models.checkpoint import context_of, load_model
from ..models.lora import forget_after, lora_config, save_adapter
from ..pairs.built import groups_of
from ..pairs.rolled_out import check_player, plays
from ..recipe.judge import JudgeTable
from ..recipe.steps import SaidSteps, require_a_batch
from ..run.fingerprint import PlugIn, of_cases, of_play, of_policies
from ..run.held_out import Guard
from ..run.opened import Run
from ..run.processes import is_first, require_as_many
from ..run.stage import ReportPanel, Stage, TrainedPolicy
from ..sft.samples import Collator, GetImage
from .batch import Outcome, OutcomeCollator, outcome_of
from .config import check_kto, estimates_kl, kto_config
from .trainer import OutcomeTrainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROLE = "kto"


class KtoStage(Stage):
    """`[kto]`, `[pairs]` and `[lora]`: single episodes, each to become likelier or less likely."""

    name: ClassVar[str] = ROLE
    needs: ClassVar[tuple[str, ...]] = ("cold_start",)
    together: ClassVar[bool] = True

    def wanted(self, run: Run) -> bool:
        """Where the recipe has `[kto]`."""
        return bool(run.recipe.kto)

    def check(self, run: Run) -> None:
        """Have TRL look at `[kto]`; look for the run whose episodes are learned from."""
        check_kto(run.recipe)
        if run.recipe.pairs.folder is not None:
            raise UserError(
                f"{run.recipe.name}: [kto] learns from single episodes, and [pairs] folder holds "
                "pairs; fix: name a run by [pairs] run, or let the policy play"
            )
        if plays(run) and int(run.recipe.dpo.get("rounds", 1)) > 1:
            raise UserError(
                f"{run.recipe.name}: [kto] would learn only from the first of [dpo] rounds, which "
                "has a part of the cases; fix: train [kto] by a recipe of its own"
            )
        check_player(run)

    def plug_ins(self, run: Run) -> Iterator[PlugIn]:
        """What the episodes are played with, and by."""
        yield from of_play(run.recipe, run.paired)
        yield from of_cases(run.held_out)
        yield from of_policies(run.recipe.rollout.policy)

    def do(self, run: Run) -> None:
        """Train, from the cold start or from the last checkpoint, and publish the adapter."""
        outcomes, cases, get_image = outcomes_of(run)
        recipe, place = run.recipe, place_of(run)
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(place.tensorboard)
        config = kto_config(recipe, place.checkpoints)
        require_a_batch(config, len(outcomes), "kto", "episodes")
        last = get_last_checkpoint(str(place.checkpoints)) if place.checkpoints.is_dir() else None
        if last:
            require_as_many(Path(last))
        done = int(last.rpartition("-")[2]) if last else 0
        left = TrainerState.load_from_json(f"{last}/{TRAINER_STATE_NAME}") if last else None
        if is_first():
            forget_after(place.folder, place.role, done)
        set_seed(recipe.seed)
        model, processor = load_model(run.place.cold_start, recipe.model.options.in_run)
        from datasets import Dataset

        collate = OutcomeCollator(
            Collator(model, processor, get_image), with_kl=estimates_kl(recipe.kto)
        )
        try:
            trainer = OutcomeTrainer(
                model=model,
                args=config,
                train_dataset=Dataset.from_dict({"episode": list(range(len(outcomes)))}),
                data_collator=lambda rows: collate([outcomes[row["episode"]] for row in rows]),
                processing_class=processor,
                peft_config=lora_config(model, recipe.lora, recipe.model.adapt),
            )
        except (ValueError, RuntimeError, ImportError) as error:
            raise UserError(
                f"TRL refuses the recipe: {reason_of(error)}; fix: correct [kto] or [lora]"
            ) from error
        trainer.remove_callback(PrinterCallback)
        limit = recipe.rollout.max_context or context_of(model)
        player = local_model(
            trainer.accelerator.unwrap_model(trainer.model),
            processor,
            batch_size=64,
            patience=None,
            tool_form=recipe.tools.form,
        )
        watch = PolicyWatch(
            trainer,
            player,
            StepRollouts(run.sampling()),
            cases,
            replace(run.rules(run.paired), max_tokens=limit),
            recipe.sight,
            recipe.rollout.temperature,
        )
        end = config.max_steps if config.max_steps > 0 else None
        with progress("KTO", end, done=done) as advance:
            trainer.add_callback(SaidSteps("KTO", "episodes", len(outcomes), "episodes"))
            if is_first():
                trainer.add_callback(MetricsFile(place, done, advance))
            trainer.add_callback(watch)
            if left is None or not has_stopped(left, JudgeTable(), end):
                if left is not None and left.max_steps != config.max_steps > 0:
                    trainer.add_callback(NewEnd(left.max_steps, said=is_first()))
                trainer.train(resume_from_checkpoint=last)
                left = trainer.state
            else:  # it was interrupted after its last step
                trainer._load_from_checkpoint(str(last))
        known = {version.step for version in published(place.folder, place.role)}
        if is_first() and left.global_step not in known:
            learned = trainer.accelerator.unwrap_model(trainer.model)
            save_adapter(learned, place.folder, place.role, left.global_step)

    def policies(self, run: Run) -> Sequence[TrainedPolicy]:
        """The policy after its last step."""
        return (TrainedPolicy(self.name, "KTO", *place_of(run).trained),)

    def panels(self, run: Run) -> Sequence[ReportPanel]:
        """What becomes of right and of wrong episodes, step by step."""
        path = place_of(run).metrics
        return (ReportPanel(partial(_draw, read_lines(path))),) if path.exists() else ()


def place_of(run: Run) -> Place:
    """Where the stage keeps its things in a run's folder."""
    return Place(run.folder, ROLE)


def outcomes_of(run: Run) -> tuple[list[Outcome], Sequence[Case], GetImage]:
    """The episodes of a run in the order of training, their cases, and what gives their images.

    Those that answered right are desirable. The order is shuffled once, by the seed.

    Raises:
        UserError: all of them are right, or all wrong, or one is of a case that is held out.
    """
    folder, cases = groups_of(run)
    held_out = [run.test] if run.held_out is None else [run.test, run.held_out]
    guard = Guard(held_out, run.paired.listed)
    wanted = {case.id for case in cases}
    found: list[Trajectory] = []
    for each in folder.trajectories:
        guard.check_id(each.case_id)
        if each.case_id in wanted and each.failure is None:
            found.append(each)
    found.sort(key=lambda each: (each.case_id, each.seed, each.version, each.member))
    right = sum(each.correct for each in found)
    if right in (0, len(found)):
        raise UserError(
            f"{right} of {len(found)} episodes are right, so there is nothing to tell apart; fix: "
            "more cases or samples in [pairs], or another policy"
        )
    order = np.random.default_rng(run.seed("kto")).permutation(len(found))
    return [outcome_of(found[i], found[i].correct) for i in order], cases, folder.images.get


def _draw(steps: Sequence[Mapping[str, float]], axes: "Axes") -> None:
    for key, name, colour in (
        ("rewards/chosen", "right episodes", "#0072b2"),
        ("rewards/rejected", "wrong episodes", "#d55e00"),
    ):
        known = [(row["step"], row[key]) for row in steps if key in row]
        if known:
            axes.plot(*zip(*known, strict=True), color=colour, label=name)
    axes.set(title="KTO", xlabel="KTO step", ylabel="reward: beta log(policy / reference)")
    axes.legend(loc="center right")
