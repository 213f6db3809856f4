"""A trainer of the tiny model at its smallest."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_old_garbage() -> None:
    """Training that begins searches all of memory for garbage, which takes longer than small runs
    do; here it leaves out what is there already: libraries and tests, which stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def uneven() -> Any:
    """Rules under which random replies earn unequally, so that there is something to learn."""
    from medgym.episode import Rules
    from medgym.rubric import Rubric, Term
    from medgym.tool import load_tools

    term = Term("uneven", 1.0, lambda _, episode: sum(map(ord, episode.turns[0].reply)) % 7 / 7)
    rubric = Rubric("uneven", (term,))
    return Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2, rubric=rubric)


@pytest.fixture
def make_trainer(tiny_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Builds a `LookingTrainer`: two groups of two a step, two steps; keywords change that.

    Keywords that are keys of `GRPOConfig` go there, `trainer` names another class, and all others
    go to the trainer.
    """
    from dataclasses import fields

    from peft import LoraConfig
    from trl import GRPOConfig

    from medgym import Sampling, open_cases
    from medgym.episode import Rules
    from medgym.tool import load_tools
    from medgym.train.grpo.trainer import LookingTrainer
    from medgym.train.models.checkpoint import load_model

    known = {field.name for field in fields(GRPOConfig)}

    def make(trainer: type[LookingTrainer] = LookingTrainer, **asked: Any) -> Any:
        keys: dict[str, Any] = {
            "output_dir": str(tmp_path / "checkpoints"),
            "per_device_train_batch_size": 4,
            "num_generations": 2,
            "max_steps": 2,
            "logging_steps": 1,
            "report_to": [],
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "shuffle_dataset": False,
            "disable_tqdm": True,
            "save_strategy": "no",
            "top_k": 0,
            "beta": 0.0,
            "learning_rate": 1e-3,
        }
        keys |= {name: value for name, value in asked.items() if name in known}
        model, processor = asked.get("loaded") or load_model(tiny_folder)
        rest: dict[str, Any] = {
            "cases": open_cases("phantom,look=radiograph,question=kind:train[:4]"),
            "rules": Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2),
            "sampling": Sampling(max_tokens=6),
            "peft_config": LoraConfig(r=2, target_modules=r".*language_model.*q_proj"),
        }
        rest |= {n: v for n, v in asked.items() if n not in known and n != "loaded"}
        return trainer(args=GRPOConfig(**keys), model=model, processing_class=processor, **rest)

    return make
