"""Episodes that are right or wrong, and a trainer of them at its smallest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from peft import LoraConfig
from trl import KTOConfig

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.local_model import local_model
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.kto.batch import Outcome, OutcomeCollator, outcome_of
from medgym.train.kto.trainer import OutcomeTrainer
from medgym.train.models.checkpoint import load_model
from medgym.train.sft.samples import Collator

BETA = 0.5


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> Any:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def pictures() -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def outcomes(loaded: Any, pictures: dict[str, Any]) -> list[Outcome]:
    """Four episodes, with a look and without one, by turns right and wrong."""

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    rules = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
    found = []
    for spec in ("scripted:oracle", "scripted:prior"):
        policy = local_model(*loaded).imitating(load_policy(spec))
        cases = open_cases("phantom,look=radiograph,question=kind:train[:2]")
        found += list(collect(cases, policy, rules, on_messages=keep, ordered=True))
    looks = [outcome_of(trajectory, number % 2 == 0) for number, trajectory in enumerate(found)]
    assert [len(each.sample.pictures) for each in looks] == [2, 2, 1, 1]
    return [looks[0], looks[2], looks[1], looks[3]]


@pytest.fixture
def make_kto_trainer(
    tiny_folder: Path, outcomes: list[Outcome], pictures: dict[str, Any], tmp_path: Path
) -> Callable[..., OutcomeTrainer]:
    """Builds a trainer of four episodes, two steps of all of them; keywords change its keys."""

    def make(**keys: Any) -> OutcomeTrainer:
        model, processor = load_model(tiny_folder)
        config = KTOConfig(
            **(
                {"per_device_train_batch_size": 4, "max_steps": 2, "learning_rate": 1e-2}
                | {"max_grad_norm": 0.0, "beta": BETA, "desirable_weight": 1.5}
                | keys
            ),
            output_dir=str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=False,
            report_to=[], save_strategy="no", max_length=None, remove_unused_columns=False,
            disable_tqdm=True,
        )  # fmt: skip
        collate = OutcomeCollator(
            Collator(model, processor, pictures.__getitem__), with_kl=config.loss_type == "kto"
        )
        return OutcomeTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict({"episode": list(range(len(outcomes)))}),
            data_collator=lambda rows: collate([outcomes[row["episode"]] for row in rows]),
            processing_class=processor,
            peft_config=LoraConfig(
                r=4, target_modules=r".*language_model.*(q_proj|v_proj)", lora_dropout=0.5
            ),
        )

    return make
