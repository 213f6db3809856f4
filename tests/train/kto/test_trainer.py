"""KTO on whole episodes: the loss is its formula, on images of all turns, also behind another's
question."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import KTOConfig

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.local_model import local_model
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.kto.batch import MISMATCHED, Outcome, OutcomeCollator, behind, outcome_of
from medgym.train.kto.trainer import OutcomeTrainer
from medgym.train.models.checkpoint import load_model
from medgym.train.sft.samples import Collator, Sample

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
def trainer(
    loaded: Any, outcomes: list[Outcome], pictures: dict[str, Any], tmp_path: Path
) -> OutcomeTrainer:
    model, processor = loaded
    config = KTOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, beta=BETA, max_steps=2,
        learning_rate=1e-2, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
        save_strategy="no", max_length=None, remove_unused_columns=False, disable_tqdm=True,
        desirable_weight=1.5, max_grad_norm=0.0,
    )  # fmt: skip
    collate = OutcomeCollator(Collator(model, processor, pictures.__getitem__), with_kl=True)
    return OutcomeTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict({"episode": list(range(len(outcomes)))}),
        data_collator=lambda rows: collate([outcomes[row["episode"]] for row in rows]),
        processing_class=processor,
        peft_config=LoraConfig(r=4, target_modules=r".*language_model.*(q_proj|v_proj)"),
    )


def test_words_stand_behind_anothers_question(outcomes: Sequence[Outcome]) -> None:
    first, _, other, _ = outcomes
    mixed = behind(first, other)
    tokens, images = first.asked
    assert mixed.ids[:tokens] == first.sample.ids[:tokens]
    assert mixed.pictures == (first.sample.pictures[0], other.sample.pictures[1])
    assert images == 1
    written = [i for i, wrote in zip(mixed.ids, mixed.mask, strict=True) if wrote]
    sample = other.sample
    assert written == [i for i, wrote in zip(sample.ids, sample.mask, strict=True) if wrote]
    assert behind(first, first) == first.sample


def logp(trainer: OutcomeTrainer, sample: Sample, collate: Collator) -> tuple[float, float]:
    """Of the policy, and of its reference, over one episode by itself."""
    model: Any = trainer.model
    batch = collate([sample])
    labels = batch.pop("labels")
    values = []
    with torch.no_grad():
        for off in (False, True):
            if off:
                with model.disable_adapter():
                    logits = model.base_model.model(**batch).logits
            else:
                logits = model.base_model.model(**batch).logits
            scores = torch.log_softmax(logits[:, :-1], -1)
            kept = labels[:, 1:] != -100
            picked = scores.gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
            values.append(float(picked[kept].sum()))
    return values[0], values[1]


def test_the_loss_is_the_formula_after_two_steps(
    trainer: OutcomeTrainer, loaded: Any, outcomes: list[Outcome], pictures: dict[str, Any]
) -> None:
    trainer.train()
    collate = Collator(loaded[0], loaded[1], pictures.__getitem__)
    batch = trainer.data_collator([{"episode": number} for number in range(4)])
    images = batch[MISMATCHED]
    assert images["pixel_values"].shape == batch["pixel_values"].shape
    assert not torch.equal(images["pixel_values"], batch["pixel_values"]), "another order"
    with torch.no_grad():
        got = float(trainer._compute_loss(trainer.model, dict(batch), False))

    ratios = [a - b for a, b in (logp(trainer, each.sample, collate) for each in outcomes)]
    last = [outcomes[-1], *outcomes[:-1]]
    mixed = [behind(*pair) for pair in zip(outcomes, last, strict=True)]
    far = [a - b for a, b in (logp(trainer, each, collate) for each in mixed)]
    kl = max(0.0, sum(far) / 4)
    assert max(map(abs, ratios)) > 0.1, "there is something to compare"
    losses = []
    for ratio, each in zip(ratios, outcomes, strict=True):
        sign, weight = (1, 1.5) if each.desirable else (-1, 1.0)
        losses.append(weight * (1 - 1 / (1 + 2.718281828459045 ** (-sign * BETA * (ratio - kl)))))
    assert got == pytest.approx(sum(losses) / 4, abs=1e-4)
