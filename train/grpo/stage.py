"""The GRPO stage: a recipe's keys into TRL's own classes, metrics, checkpoints, resuming."""

import asyncio
import json
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.policy import Policy, Sampling, load_policy
from medgym.progress import progress
from medgym.spec import fill_spec
from medgym.storage.adapters import published
from medgym.storage.trajectories import ImageStore, TrajectoryStore
from medgym.trajectory import Trajectory

from ..models.checkpoint import save_model
from ..models.lora import Following, forget_after, lora_config, only, save_adapter
from ..recipe.schema import Recipe
from .dynamic_sampling import Records, SkipFlat
from .monitor import Watching
from .trainer import LookingTrainer

if TYPE_CHECKING:
    from ..run.stages import Place


def train_grpo(
    recipe: Recipe,
    model: Any,
    processor: Any,
    cases: Sequence[Case],
    rules: Rules,
    sampling: Sampling,
    place: "Place",
    *,
    until: int | None = None,
    callbacks: Sequence[Callable[[LookingTrainer], TrainerCallback]] = (),
) -> None:
    """Train a LoRA adapter (or, without `[lora]`, the model) and publish it.

    A run that was broken off goes on from its last checkpoint: model, optimiser, order of cases and
    chance are then those of a run that was not.

    Args:
        recipe, model, processor, cases, rules, sampling: what is trained, on what and how.
        place: where it is kept, under which role's name.
        until: a step to stop at, with a checkpoint, before the recipe's last one; training it again
            goes on from there.
        callbacks: make callbacks of the trainer, beside our own.

    Raises:
        UserError: what the recipe asks for cannot be had.
        RunError: training cannot go on; the last checkpoint is whole.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place.tensorboard)
    config = grpo_config(recipe, place)
    is_first = config.process_index == 0
    last = get_last_checkpoint(str(place.checkpoints)) if place.checkpoints.is_dir() else None
    done = int(last.rpartition("-")[2]) if last else 0
    engine = engine_of(recipe, place)
    kept, records = _Kept(place), Records(place.folder)
    if is_first:
        kept.forget_after(done)
        records.forget("grpo", after=done - 1)
        forget_after(place.folder, place.role, done, engine)
    trainer: LookingTrainer | None = None
    try:
        set_seed(recipe.seed)
        asked = {
            "cases": cases,
            "rules": replace(rules, max_tokens=recipe.rollout.max_context or _context(model)),
            "sampling": sampling,
            "policy": engine,
            "backend": recipe.rollout.backend,
            "workers": recipe.rollout.workers,
            "ray_address": recipe.rollout.ray_address,
            "overlong": recipe.rollout.overlong,
            "images": ImageStore(place.folder / "images"),
            "select": _select(recipe, cases, records if is_first else None),
            "watch": Watching(recipe.sight, recipe.rollout.temperature),
            "on_step": kept.add,
        }
        trainer = _trainer(recipe, model, processor, config, asked)
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
            for callback in (*made, *([_Until(end)] if end else []), kept):
                trainer.add_callback(callback)
            if is_first:
                trainer.add_callback(_Metrics(place, done, advance))
            if end is None or done < end:
                trainer.train(resume_from_checkpoint=last)
            elif last is not None:  # it was broken off behind its last step
                trainer._load_from_checkpoint(last)
        steps = max(int(trainer.state.global_step), done)
        kept.write(steps)
        if is_first:
            _publish(trainer, processor, place, steps, bool(recipe.lora))
    finally:
        if trainer is not None:
            trainer.close()
        if engine is not None:
            engine.close()


def _named(what: str, place: "Place") -> str:
    """`GRPO attending`, where several are trained."""
    from ..run.stages import ROLE

    return what if place.role == ROLE else f"{what} {place.role}"


def _trainer(
    recipe: Recipe, model: Any, processor: Any, config: GRPOConfig, asked: dict[str, Any]
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


def engine_of(recipe: Recipe, place: "Place") -> Policy | None:
    """Who plays in place of the model, if anyone; `{base}` in its spec is the run's cold start.

    Raises:
        UserError: it is not there, or not fit for training.
    """
    if recipe.rollout.policy is None:
        return None
    if not recipe.lora:
        raise UserError(
            "[rollout] policy needs [lora]: only adapters are handed to an engine that runs; "
            "fix: add [lora], or leave the policy out"
        )
    policy = load_policy(fill_spec(recipe.rollout.policy, base=place.cold_start))
    asyncio.run(policy.check())
    policy.require_training()
    if not policy.takes_adapters:
        raise UserError(
            f"{policy.spec} takes no adapters while it runs; fix: [rollout] policy of vllm: or "
            "openai:"
        )
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


def _context(model: Any) -> int | None:
    """The greatest number of tokens that a model takes, if it says."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def _publish(
    trainer: LookingTrainer, processor: Any, place: "Place", steps: int, is_adapter: bool
) -> None:
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if is_adapter:
        if steps not in {version.step for version in published(place.folder, place.role)}:
            save_adapter(trained, place.folder, place.role, steps)
    else:
        save_model(trained, processor, place.folder / "trained")


def grpo_config(recipe: Recipe, place: "Place") -> GRPOConfig:
    """`[grpo]` on top of what medgym sets; see `recipe._TRL_OURS` for what a recipe may not set.

    Raises:
        UserError: TRL refuses a value, or checkpoints would fall between steps that share what was
            played, from where no run can be resumed exactly.
    """
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    on_gpu = torch.cuda.is_available()
    ours: dict[str, Any] = {
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "logging_steps": 1,
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "shuffle_dataset": False,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "dataloader_num_workers": 0,
    }
    try:
        config = GRPOConfig(
            **(ours | recipe.grpo),
            output_dir=str(place.checkpoints),
            seed=recipe.seed,
            data_seed=recipe.seed,
            temperature=recipe.rollout.temperature,
            top_k=0,
            max_completion_length=recipe.rollout.max_turns * recipe.rollout.max_tokens,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"TRL refuses [grpo]: {reason_of(error)}; fix: correct it") from error
    shared = int(config.steps_per_generation or 1) * config.num_iterations
    period = shared // math.gcd(shared, config.gradient_accumulation_steps)
    if config.save_strategy == "steps" and config.save_steps % period:
        raise UserError(
            f"{period} steps share what was played and [grpo] save_steps is {config.save_steps:g}; "
            f"fix: a multiple of {period}, so that runs resume exactly"
        )
    return config


class _Until(TrainerCallback):
    """Stops at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= self._step:
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True


class _Kept(TrainerCallback):
    """Trajectories of training: at each checkpoint one Parquet part, named by its last step.

    A part is written before its checkpoint, so that a checkpoint never lacks what led to it; parts
    beyond the last checkpoint belong to steps that a resumed run plays again.
    """

    def __init__(self, place: "Place") -> None:
        self._store = TrajectoryStore(place.played)
        self._waiting: list[Trajectory] = []

    def forget_after(self, step: int) -> None:
        """Drop parts of steps that a resumed run plays again."""
        for part in self._store.parts():
            if int(part.stem.removeprefix("part-")) > step:
                part.unlink()

    def add(self, step: int, played: Sequence[tuple[Case, Trajectory]]) -> None:
        """Take what a step played."""
        self._waiting += [trajectory for _, trajectory in played]

    def write(self, step: int) -> None:
        """Write what was played up to a step."""
        self._store.write(self._waiting, number=step)
        self._waiting = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save:
            self.write(int(state.global_step))


class _Metrics(TrainerCallback):
    """One JSON line a step into `metrics.jsonl`, and the progress bar."""

    def __init__(self, place: "Place", done: int, advance: Any) -> None:
        self._path = place.metrics
        self._advance = advance
        kept = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in kept if json.loads(line)["step"] <= done]
        self._path.write_text("".join(line + "\n" for line in kept))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "reward" not in logs:
            return
        # TRL logs None for what a step has no figure of, as where all episodes were masked.
        row = {k: float(v) for k, v in logs.items() if v is not None}
        with self._path.open("a") as stream:
            stream.write(json.dumps({"step": state.global_step} | row) + "\n")
        self._advance(1, reward=row.get("reward", 0.0), accuracy=row.get("accuracy", 0.0))
