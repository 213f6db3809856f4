"""The GRPO stage: a recipe's keys into TRL's own classes, metrics, checkpoints, resuming."""

import json
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig

from medgym.cases import Case
from medgym.episode import Rules
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.store import ImageStore, TrajectoryStore
from medgym.trajectory import Trajectory

from .grpo import LookingTrainer
from .recipe import Recipe

if TYPE_CHECKING:
    from .pipeline import Place


def train_grpo(
    recipe: Recipe,
    model: Any,
    processor: Any,
    cases: Sequence[Case],
    rules: Rules,
    sampling: Sampling,
    place: "Place",
) -> None:
    """Train a LoRA adapter (or, without `[lora]`, the model) and publish it."""
    from peft import LoraConfig

    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    config = grpo_config(recipe, place)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place.folder / "tensorboard")
    kept = _Kept(place)
    set_seed(recipe.seed)
    trainer = LookingTrainer(
        cases=cases,
        rules=rules,
        sampling=sampling,
        args=config,
        model=model,
        processing_class=processor,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **recipe.lora) if recipe.lora else None,
        images=ImageStore(place.folder / "images"),
        on_step=kept.add,
    )
    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(place.checkpoints)) if place.checkpoints.is_dir() else None
    done = int(last.rpartition("-")[2]) if last else 0
    kept.forget_after(done)
    with progress("GRPO", config.max_steps) as advance:
        advance(done)
        trainer.add_callback(kept)
        trainer.add_callback(_Metrics(place, done, advance))
        trainer.train(resume_from_checkpoint=last)
    steps = int(trainer.state.global_step)
    kept.write(steps)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(place.adapter(steps))


def grpo_config(recipe: Recipe, place: "Place") -> GRPOConfig:
    """`[grpo]` on top of what medgym sets; see `recipe._TRL_OURS` for what a recipe may not set."""
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
    return GRPOConfig(
        **(ours | recipe.grpo),
        output_dir=str(place.checkpoints),
        seed=recipe.seed,
        data_seed=recipe.seed,
        temperature=recipe.rollout.temperature,
        top_k=0,
        max_completion_length=recipe.rollout.max_turns * recipe.rollout.max_tokens,
    )


class _Kept(TrainerCallback):
    """Trajectories of training: at each checkpoint one Parquet part, named by its last step.

    A part is written before its checkpoint, so that a checkpoint never lacks what led to it; parts
    beyond the last checkpoint belong to steps that a resumed run plays again.
    """

    def __init__(self, place: "Place") -> None:
        self._store = TrajectoryStore(place.folder / "trajectories" / "grpo")
        self._waiting: list[Trajectory] = []

    def forget_after(self, step: int) -> None:
        """Drop parts of steps that a resumed run plays again."""
        for part in self._store.parts():
            if int(part.stem.removeprefix("part-")) > step:
                part.unlink()

    def add(self, step: int, played: Sequence[tuple[Case, Trajectory]]) -> None:
        self._waiting += [trajectory for _, trajectory in played]

    def write(self, step: int) -> None:
        self._store.write(self._waiting, number=step)
        self._waiting = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save:
            self.write(int(state.global_step))


class _Metrics(TrainerCallback):
    """One JSON line a step into `metrics.jsonl`, and the progress bar."""

    def __init__(self, place: "Place", done: int, advance: Any) -> None:
        self._path = place.folder / "metrics.jsonl"
        self._advance = advance
        kept = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in kept if json.loads(line)["step"] <= done]
        self._path.write_text("".join(line + "\n" for line in kept))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "reward" not in logs:
            return
        row = {"step": state.global_step} | {k: float(v) for k, v in logs.items()}
        with self._path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        self._advance(1, reward=row["reward"], accuracy=row["accuracy"])
