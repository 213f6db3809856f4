"""One DPO training: from pairs to a published adapter, resumed from its last checkpoint."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import DPOConfig

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.local_model import LocalModel, local_model
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.storage.adapters import mark_best, published
from medgym.storage.layout import Place

from ..data.preferences.pair import Pair
from ..grpo.callbacks import NewEnd, StopAt, checkpoint_of, choosing, has_stopped
from ..grpo.evaluation import HeldOut
from ..grpo.logs.files import KeptTrajectories, MetricsFile
from ..grpo.rollouts import StepRollouts
from ..models.checkpoint import context_of, save_whole_model
from ..models.lora import forget_after, lora_config, only, save_adapter
from ..models.precision import cast_weights, dtypes_of
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..recipe.steps import SaidSteps, require_a_batch
from ..run.processes import require_as_many
from ..sft.samples import GetImage
from .batches import PairBatches, usable, weights_of
from .config import dpo_config
from .others import exchange_of
from .tables import Weight, images_of, terms_of
from .trainer import PairTrainer
from .watch import PolicyWatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

NAMED = "DPO"


def train_dpo(
    recipe: Recipe,
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    pairs: Sequence[Pair],
    get_image: GetImage,
    place: Place,
    *,
    weight: Weight = "uniform",
    cases: Sequence[Case] = (),
    rules: Rules | None = None,
    sampling: Sampling | None = None,
    start: Path | None = None,
    before: int = 0,
    until: int | None = None,
    held_out: HeldOut | None = None,
    what: str = NAMED,
) -> int:
    """Train a LoRA adapter (or, without `[lora]`, the model) on pairs and publish it.

    The reference is the policy as the training begins. An interrupted run resumes from its last
    checkpoint: model, optimiser, order of pairs and random state are then those of a run that was
    not interrupted.

    Args:
        recipe, model, processor: what is trained, and how. The model has no adapter.
        pairs: on what; those that cannot be learned from are left out and counted.
        get_image: gives the images that they show.
        place: where it is kept, under which role's name.
        weight: by what the loss of a pair is weighted.
        cases: of the pairs: those that the watch plays, and whose regions noise covers.
        rules, sampling: by which the watch plays them; without these nothing is watched.
        start: a published adapter that the new one begins with, and that is the reference.
        before: a step to be added to those of published versions, for a later round.
        until: a step to stop at, with a checkpoint, before the recipe's last one; the next call
            resumes there.
        held_out: what the policy is judged on while it trains, where `[judge]` asks for it.
        what: is trained, as it is said.

    Returns:
        The step that was published, without `before`.

    Raises:
        UserError: what the recipe asks for cannot be had; nothing can be learned from the pairs.
        Collapsed: the policy stops answering.
        Blind: it does not see.
        RunError: training cannot go on; the last checkpoint is whole.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place.tensorboard)
    config = dpo_config(recipe, place.checkpoints)
    is_first = config.process_index == 0
    last = get_last_checkpoint(str(place.checkpoints)) if place.checkpoints.is_dir() else None
    if last:
        require_as_many(Path(last))
    done = int(last.rpartition("-")[2]) if last else 0
    left = TrainerState.load_from_json(f"{last}/{TRAINER_STATE_NAME}") if last else None
    evaluated = KeptTrajectories(place.evaluations)
    dtypes = dtypes_of(model)
    if is_first:
        evaluated.forget_after(done)
        forget_after(place.folder, place.role, before + done)
    set_seed(recipe.seed)
    limit = recipe.rollout.max_context or context_of(model)
    kept = usable(pairs, _player(model, processor, recipe).vision_token_ids, said=is_first)
    if is_first and weight != "uniform" and (weights_of(kept, weight) == 1.0).all():
        print(
            f'{what}: [pairs] weight = "{weight}" has no effect: the pairs of each builder are '
            f"alike in {weight}",
            file=sys.stderr,
        )
    require_a_batch(config, len(kept), "dpo", "pairs")
    if held_out is not None:
        its_rules = replace(held_out.rules, max_tokens=limit)
        held_out = replace(held_out, rules=its_rules, keep=evaluated.write_all)
    trainer = _trainer(
        recipe,
        model,
        processor,
        config,
        {
            "pairs": kept,
            "get_image": get_image,
            "weight": weight,
            "cases": {case.id: case for case in cases},
            "start": start,
            "held_out": held_out,
        },
    )
    if left is not None:  # which TRL would count anew
        counted = [row["num_tokens"] for row in left.log_history if "num_tokens" in row]
        trainer._total_train_tokens = int(counted[-1]) if counted else 0
    policy = _player(trainer.accelerator.unwrap_model(trainer.model), processor, recipe)
    trainer.remove_callback(PrinterCallback)
    rollouts = StepRollouts(sampling) if sampling is not None else None
    if rollouts is not None:
        trainer.judged_by(policy, rollouts)
    ends = [step for step in (until, config.max_steps) if step is not None and step > 0]
    end = min(ends, default=None)  # without one, epochs are counted
    with progress(what, end, done=done) as advance:
        made = [StopAt(end)] if end else []
        for callback in (*made, *choosing(recipe.judge, place)):
            trainer.add_callback(callback)
        trainer.add_callback(SaidSteps(what, "pairs", len(kept), "pairs"))
        if is_first:
            trainer.add_callback(MetricsFile(place, done, advance))
        if rollouts is not None and cases and rules is not None:
            its_rules = replace(rules, max_tokens=limit)
            sampled = policy, rollouts, cases, its_rules
            trainer.add_callback(
                PolicyWatch(trainer, *sampled, recipe.sight, recipe.rollout.temperature)
            )
        if left is None or not has_stopped(left, recipe.judge, end):
            if left is not None and left.max_steps != config.max_steps > 0:
                trainer.add_callback(NewEnd(left.max_steps, said=is_first))
            trainer.train(resume_from_checkpoint=last)
            left = trainer.state
        else:  # it was interrupted after its last step
            best = left.best_global_step if recipe.judge.best else None
            step = left.global_step if best is None else best
            trainer._load_from_checkpoint(str(checkpoint_of(place, step)))
    if not recipe.lora:
        cast_weights(trainer.accelerator.unwrap_model(trainer.model), dtypes)
    best = left.best_global_step if recipe.judge.best else None
    step = left.global_step if best is None else best
    if is_first:
        if best is not None:
            print(
                f"{what}: of {left.global_step} steps, step {best} is kept as the best: "
                f"{left.best_metric:.1%} right on the held-out cases",
                file=sys.stderr,
            )
        _publish(trainer, processor, place, before + step, recipe, is_best=best is not None)
    return step


def _trainer(
    recipe: Recipe,
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    config: DPOConfig,
    asked: Keys,
) -> PairTrainer:
    """The trainer; what it or one of its libraries refuses is the user's to fix."""
    pairs, get_image, start = asked["pairs"], asked["get_image"], asked["start"]
    peft_config = None
    if recipe.lora:
        if "target_modules" in recipe.lora and "adapt" in recipe.model.model_fields_set:
            raise UserError(
                "[model] adapt and [lora] target_modules both say what learns; fix: give one"
            )
        peft_config = lora_config(model, recipe.lora, recipe.model.adapt)
    elif start is not None:
        raise UserError(
            f"an adapter to begin with ({start}) and no [lora]; fix: add [lora], or give the whole "
            "model"
        )
    else:
        only(model, recipe.model.adapt)
    terms = terms_of(recipe.dpo)
    exchange = None
    if terms.image:
        exchange = exchange_of(pairs, images_of(recipe.dpo), get_image, asked["cases"], recipe.seed)
    try:
        return PairTrainer(
            batches=PairBatches(model, processor, pairs, get_image, exchange),
            terms=terms,
            weights=weights_of(pairs, asked["weight"]),
            args=config,
            model=model,
            processing_class=processor,
            peft_config=peft_config,
            start=start,
            held_out=asked["held_out"],
        )
    except (ValueError, RuntimeError, ImportError, NotImplementedError) as error:
        raise UserError(
            f"TRL refuses the recipe: {reason_of(error)}; fix: correct [dpo] or [lora]"
        ) from error


def _player(model: Any, processor: "ProcessorMixin", recipe: Recipe) -> LocalModel:
    """The model in training, as a policy that plays."""
    return local_model(model, processor, batch_size=64, patience=None, tool_form=recipe.tools.form)


def _publish(
    trainer: PairTrainer,
    processor: "ProcessorMixin",
    place: Place,
    step: int,
    recipe: Recipe,
    *,
    is_best: bool,
) -> None:
    """Publish what was learned."""
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if not recipe.lora:
        save_whole_model(trained, processor, place.whole)
        return
    known = {version.step: version for version in published(place.folder, place.role)}
    version = known.get(step) or save_adapter(trained, place.folder, place.role, step)
    if is_best:
        mark_best(version)
