"""Pairs of the tiny model's own episodes, and a trainer of them at its smallest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.local_model import local_model
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.data.preferences.pair import Pair
from medgym.train.models.checkpoint import load_model
from medgym.trajectory import Trajectory

CASES = "phantom,look=radiograph,question=kind:train[:4]"


LORA: dict[str, Any] = {"r": 2, "target_modules": r".*language_model.*(q|v)_proj"}

SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "logging_steps": 1,
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "save_strategy": "no",
    "max_length": None,
    "remove_unused_columns": False,
    "learning_rate": 1e-2,
}


class Pairs(NamedTuple):
    """Pairs, the images that they show by content hash, and their cases."""

    pairs: Sequence[Pair]
    pictures: Mapping[str, Image.Image]
    cases: Mapping[str, Case]


@pytest.fixture(scope="session")
def given(tiny_folder: Path) -> Pairs:
    """See `pairs_of`."""
    return pairs_of(tiny_folder)


def pairs_of(tiny_folder: Path) -> Pairs:
    """Four pairs: the oracle's look and answer against a guess at once, two images against one."""
    model, processor = load_model(tiny_folder)
    rules = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    cases = list(open_cases(CASES))

    def play(spec: str) -> list[Trajectory]:
        policy = local_model(model, processor).imitating(load_policy(spec))
        return list(collect(cases, policy, rules, seed=1, on_messages=keep, ordered=True))

    looks = play("scripted:demonstrator,good=1,random=0,steps=7")
    guesses = play("scripted:demonstrator,good=0,random=0,steps=7")
    pairs = [
        Pair(chosen, rejected, "test", "looks against guesses", score=0.25 * (number + 1))
        for number, (chosen, rejected) in enumerate(zip(looks, guesses, strict=True))
    ]
    return Pairs(pairs, pictures, {case.id: case for case in cases})


@pytest.fixture(scope="module")
def build(
    tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, given: Pairs
) -> Callable[..., Any]:
    """Builds a `PairTrainer`: all four pairs a step, three steps; keywords change that.

    Keywords that are keys of `DPOConfig` go there, those of `terms` and `images` into the tables,
    and all others to the trainer.
    """
    from peft import LoraConfig
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOConfig

    from medgym.train.dpo.batches import PairBatches, weights_of
    from medgym.train.dpo.others import exchange_of
    from medgym.train.dpo.tables import ImagesTable, TermsTable
    from medgym.train.dpo.trainer import PairTrainer

    known = {field.name for field in fields(DPOConfig)}

    def made(**asked: Any) -> Any:
        keys = SETTINGS | {"output_dir": str(tmp_path_factory.mktemp("dpo"))}
        keys |= {name: value for name, value in asked.items() if name in known}
        model, processor = asked.get("loaded") or load_model(tiny_folder)
        pairs = asked.get("pairs", given.pairs)
        terms = TermsTable(**asked.get("terms", {}))
        exchange = asked.get("exchange")
        if terms.image and exchange is None:
            table = ImagesTable(**asked.get("images", {}))
            exchange = exchange_of(pairs, table, given.pictures.__getitem__, given.cases, 0)
        rest: dict[str, Any] = {"peft_config": LoraConfig(**LORA)}
        ours = {"loaded", "pairs", "terms", "images", "exchange", "weight", *known}
        rest |= {name: value for name, value in asked.items() if name not in ours}
        trainer = PairTrainer(
            batches=PairBatches(model, processor, pairs, given.pictures.__getitem__, exchange),
            terms=terms,
            weights=weights_of(pairs, asked.get("weight", "uniform")),
            args=DPOConfig(**keys),
            model=model,
            processing_class=processor,
            **rest,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return made


@pytest.fixture(scope="module")
def trls_trainer(
    tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, given: Pairs
) -> Callable[..., Any]:
    """Builds TRL's own trainer on the same pairs, batches and settings."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    class Trls(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    def made(batches: Any, **asked: Any) -> Any:
        model, processor = load_model(tiny_folder)
        folder = str(tmp_path_factory.mktemp("trl"))
        trainer = Trls(
            model=model,
            args=DPOConfig(**(SETTINGS | {"output_dir": folder} | asked)),
            train_dataset=Dataset.from_dict({"pair": list(range(len(given.pairs)))}),
            data_collator=batches(model, processor, given.pairs, given.pictures.__getitem__),
            processing_class=processor,
            peft_config=LoraConfig(**LORA),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return made
