"""The GRPO stage: reinforcement learning on whole episodes, resumed from its last checkpoint."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from transformers import TrainerCallback, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.policy import Policy, Sampling, load_policy, read_spec
from medgym.progress import progress
from medgym.spec import fill_spec, take_option
from medgym.storage.adapters import mark_best, published
from medgym.storage.layout import ROLE, Place
from medgym.storage.trajectories import ImageStore
from medgym.tool_form import OPTION, in_tool_form

from ..data.curriculum import arranged, asked_for
from ..data.mixture import MixedCases, SourceOf
from ..data.order import OrderedCases
from ..data.records import Records
from ..models.checkpoint import context_of, load_model, save_whole_model
from ..models.lora import Following, forget_after, lora_config, only, save_adapter
from ..models.precision import cast_weights, dtypes_of
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..recipe.steps import SaidSteps, check_steps
from ..run.base import shape_of_base
from ..run.fingerprint import PlugIn, of_cases, of_play, of_policies
from ..run.opened import Run
from ..run.processes import is_first, require_as_many
from ..run.stage import ReportPanel, Stage, TrainedPolicy
from .callbacks import NewEnd, StopAt, checkpoint_of, choosing, has_stopped
from .config import check_grpo, grpo_config
from .credit import credit_branches
from .dynamic_sampling import SkipFlat
from .evaluation import HeldOut
from .logs.curves import panels
from .logs.files import KeptTrajectories, MetricsFile
from .monitor import SightMonitor
from .trainer import LookingTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


class GrpoStage(Stage):
    """`[grpo]` and `[lora]`: the policy after its cold start learns from its own episodes."""

    name: ClassVar[str] = "grpo"
    needs: ClassVar[tuple[str, ...]] = ("cold_start",)
    together: ClassVar[bool] = True

    def wanted(self, run: Run) -> bool:
        """Where the recipe has `[grpo]`."""
        return bool(run.recipe.grpo)

    def check(self, run: Run) -> None:
        """Have TRL look at `[grpo]`; look whether the engine of `[rollout] policy` can train."""
        check_grpo(run.recipe)
        check_steps(run.recipe.grpo, "[grpo]", "remove [grpo] to train by SFT only")
        if "{base}" in (run.recipe.rollout.policy or ""):
            with shape_of_base(run.recipe) as base:
                check_engine(run.recipe, run.place, base)
        else:
            check_engine(run.recipe, run.place)

    def plug_ins(self, run: Run) -> Iterator[PlugIn]:
        """What the episodes are played with, and by."""
        yield from of_play(run.recipe, run.train)
        yield from of_cases(run.held_out)
        yield from of_policies(run.recipe.rollout.policy)

    def do(self, run: Run) -> None:
        """Train, from the cold start or from the last checkpoint, and publish the adapter."""
        model, processor = load_model(run.place.cold_start, run.recipe.model.options.in_run)
        cases: Sequence[Case] = run.ordered
        if asked_for(run.recipe.curriculum):
            cases = arranged(cases, run.folder)
        source_of = None
        if isinstance(run.train, MixedCases):
            source_of = run.train.source_of
            if is_first():
                print(run.train.describe(len(run.ordered)), file=sys.stderr)
        rules, sampling = run.rules(run.train), run.sampling()
        judged = run.held_out
        held_out = HeldOut(judged, run.rules(judged), run.seed("held out")) if judged else None
        train_grpo(
            run.recipe,
            model,
            processor,
            cases,
            rules,
            sampling,
            run.place,
            held_out=held_out,
            source_of=source_of,
        )

    def policies(self, run: Run) -> Sequence[TrainedPolicy]:
        """The policy after its last step."""
        return (TrainedPolicy(self.name, "GRPO", *run.place.trained),)

    def panels(self, run: Run) -> Sequence[ReportPanel]:
        """Accuracy, looking and sight, step by step."""
        return panels(run.place.metrics, run.recipe.grpo)


def train_grpo(
    recipe: Recipe,
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    cases: Sequence[Case],
    rules: Rules,
    sampling: Sampling,
    place: Place,
    *,
    until: int | None = None,
    held_out: HeldOut | None = None,
    callbacks: Sequence[Callable[[LookingTrainer], TrainerCallback]] = (),
    source_of: SourceOf | None = None,
) -> None:
    """Train a LoRA adapter (or, without `[lora]`, the model) and publish it.

    An interrupted run resumes from its last checkpoint: model, optimiser, order of cases and random
    state are then those of a run that was not interrupted.

    Args:
        recipe, model, processor, cases, rules, sampling: what is trained, on what and how.
        place: where it is kept, under which role's name.
        until: a step to stop at, with a checkpoint, before the recipe's last one; the next call
            resumes there.
        held_out: what the policy is judged on while it trains, where `[judge]` asks for it.
        callbacks: make callbacks of the trainer, beside our own.
        source_of: which of several sources a case is of, for figures of each.

    Raises:
        UserError: what the recipe asks for cannot be had.
        RunError: training cannot go on; the last checkpoint is whole.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place.tensorboard)
    config = grpo_config(recipe, place.checkpoints)
    is_first = config.process_index == 0
    last = get_last_checkpoint(str(place.checkpoints)) if place.checkpoints.is_dir() else None
    if last:
        require_as_many(Path(last))
    done = int(last.rpartition("-")[2]) if last else 0
    left = TrainerState.load_from_json(f"{last}/{TRAINER_STATE_NAME}") if last else None
    kept, records = KeptTrajectories(place.rollouts), Records(place.folder)
    evaluated = KeptTrajectories(place.evaluations)
    engine = engine_of(recipe, place)
    if not isinstance(cases, OrderedCases):  # it knows which occurrence of a case a step has
        cases = OrderedCases(cases, range(len(cases)))
    trainer: LookingTrainer | None = None
    dtypes = dtypes_of(model)
    try:
        if is_first:
            kept.forget_after(done)
            evaluated.forget_after(done)
            records.forget("grpo", after=done - 1)
            forget_after(place.folder, place.role, done, engine)
        set_seed(recipe.seed)
        limit = recipe.rollout.max_context or context_of(model)
        if held_out is not None:
            its_rules = replace(held_out.rules, max_tokens=limit)
            held_out = replace(held_out, rules=its_rules, keep=evaluated.write_all)
        asked: Keys = {
            "cases": cases,
            "rules": replace(rules, max_tokens=limit),
            "sampling": sampling,
            "policy": engine,
            "backend": recipe.rollout.backend,
            "tool_form": recipe.tools.form,
            "workers": recipe.rollout.workers,
            "ray_address": recipe.rollout.ray_address,
            "overlong": recipe.rollout.overlong,
            "images": ImageStore(place.folder / "images"),
            "select": _select(recipe, cases, records if is_first else None),
            "monitor": SightMonitor(recipe.sight, recipe.rollout.temperature),
            "on_step": kept.add,
            "before_checkpoint": kept.write,
            "held_out": held_out,
        }
        trainer = _trainer(recipe, model, processor, config, asked)
        trainer.source_of = source_of
        trainer.left_out = records if is_first else None
        trainer.credit_branches = credit_branches(recipe.grpo)
        if engine is not None:
            trainer.publisher = Following(
                engine,
                place.folder,
                place.role,
                recipe.rollout.publish_every,
                saves=is_first,
                wait=trainer.accelerator.wait_for_everyone,
            )
        trainer.remove_callback(PrinterCallback)
        ends = [step for step in (until, config.max_steps) if step is not None and step > 0]
        end = min(ends, default=None)  # without one, epochs are counted
        with progress(_named("GRPO", place), end, done=done) as advance:
            made = [make(trainer) for make in callbacks]
            if end:
                made.append(StopAt(end))
            made += choosing(recipe.judge, place)
            for callback in made:
                trainer.add_callback(callback)
            trainer.add_callback(
                SaidSteps(
                    _named("GRPO", place),
                    "episodes",
                    len(cases),
                    per_case=int(config.num_generations or 1),
                    repeats=config.num_iterations,
                )
            )
            if is_first:
                trainer.add_callback(MetricsFile(place, done, advance))
            if left is None or not has_stopped(left, recipe.judge, end):
                if left is not None and left.max_steps != config.max_steps > 0:
                    trainer.add_callback(NewEnd(left.max_steps, said=is_first))
                trainer.train(resume_from_checkpoint=last)
                left = trainer.state
            else:  # it was interrupted after its last step
                best = left.best_global_step if recipe.judge.best else None
                step = left.global_step if best is None else best
                trainer._load_from_checkpoint(str(checkpoint_of(place, step)))
        kept.write(left.global_step)
        if not recipe.lora:
            cast_weights(trainer.accelerator.unwrap_model(trainer.model), dtypes)
        if is_first:
            _publish(trainer, processor, place, left, recipe)
    finally:
        if trainer is not None:
            trainer.close()
        if engine is not None:
            engine.close()


def _named(what: str, place: Place) -> str:
    """`GRPO attending`, where several are trained."""
    return what if place.role == ROLE else f"{what} {place.role}"


def _trainer(
    recipe: Recipe,
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    config: GRPOConfig,
    asked: Keys,
) -> LookingTrainer:
    """The trainer; what it or one of its libraries refuses is the user's to fix."""
    peft_config = None
    if recipe.lora:
        parts = recipe.model.adapt
        if "target_modules" in recipe.lora and "adapt" in recipe.model.model_fields_set:
            raise UserError(
                "[model] adapt and [lora] target_modules both say what learns; fix: give one"
            )
        peft_config = lora_config(model, recipe.lora, parts)
    else:
        only(model, recipe.model.adapt)
    try:
        return LookingTrainer(
            args=config,
            model=model,
            processing_class=processor,
            peft_config=peft_config,
            **asked,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(
            f"TRL refuses the recipe: {reason_of(error)}; fix: correct [grpo] or [lora]"
        ) from error


def check_engine(recipe: Recipe, place: Place, base: str | None = None) -> None:
    """Look at `[rollout] policy` as far as that is possible before there is a cold start.

    One that needs no cold start is asked whether it is ready.

    Args:
        base: the model that stands for the cold start, if it is a model's name.

    Raises:
        UserError: nothing is registered under its name, its options are wrong, its library is not
            installed, its endpoint is not ready, or there is no adapter to hand to it.
    """
    spec = recipe.rollout.policy
    if spec is None:
        return
    _check_adapters(recipe, spec)
    kind = read_spec(spec)[0]
    kind.require_library()
    if "{base}" not in spec and not kind.local_model:
        engine = engine_of(recipe, place)
        if engine is not None:
            engine.close()
    elif base is not None or "{base}" not in spec:
        kind.check_spec(*read_spec(fill_spec(spec, base=base))[1:])


def _check_adapters(recipe: Recipe, spec: str) -> None:
    """Make sure that there are adapters to hand to an engine, and that it takes them."""
    if not recipe.lora:
        raise UserError(
            "[rollout] policy needs [lora]: a running engine takes only adapters; fix: add [lora], "
            "or remove [rollout] policy"
        )
    kind, rest, _ = read_spec(spec)
    rest, named = take_option("[rollout] policy", rest, OPTION)
    if named not in (None, recipe.tools.form):
        raise UserError(
            f"[rollout] policy says tool_form={named}, and [tools] form is {recipe.tools.form!r}; "
            "fix: leave tool_form out of the policy"
        )
    kind.check_lora(rest, recipe.lora, recipe.model.adapt)


def engine_of(recipe: Recipe, place: Place) -> Policy | None:
    """The engine that plays in place of the model, if any; `{base}` is the run's cold start.

    Raises:
        UserError: it is not there, or not fit for training.
    """
    if recipe.rollout.policy is None:
        return None
    _check_adapters(recipe, recipe.rollout.policy)
    spec = fill_spec(recipe.rollout.policy, base=place.cold_start)
    policy = load_policy(in_tool_form(spec, recipe.tools.form), by_recipe=True)
    try:
        asyncio.run(policy.check())
        policy.require_training()
        if not policy.takes_adapters:
            raise UserError(
                f"{policy.spec} takes no adapters while it runs; fix: [rollout] policy of vllm: or "
                "openai:"
            )
    except BaseException:
        policy.close()
        raise
    return policy


def _select(recipe: Recipe, cases: Sequence[Case], records: Records | None) -> SkipFlat | None:
    if not recipe.curriculum.skip_flat:
        return None
    return SkipFlat(
        cases,
        seed=recipe.seed,
        most=recipe.curriculum.most,
        masked=recipe.rollout.overlong == "mask",
        records=records,
    )


def _publish(
    trainer: LookingTrainer,
    processor: "ProcessorMixin",
    place: Place,
    left: TrainerState,
    recipe: Recipe,
) -> None:
    """Publish what was learned, up to the last step or, where `[judge]` says so, the best one."""
    trained = trainer.accelerator.unwrap_model(trainer.model)
    best = left.best_global_step if recipe.judge.best else None
    step = left.global_step if best is None else best
    if best is not None:
        print(
            f"{_named('GRPO', place)}: of {left.global_step} steps, step {best} is kept as the "
            f"best: {left.best_metric:.1%} right on the held-out cases",
            file=sys.stderr,
        )
    if recipe.lora:
        known = {version.step: version for version in published(place.folder, place.role)}
        version = known.get(step) or save_adapter(trained, place.folder, place.role, step)
        if best is not None:
            mark_best(version)
    else:
        save_whole_model(trained, processor, place.whole)
