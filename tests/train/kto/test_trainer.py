"""KTO on whole episodes: the loss is its formula, on images of all turns, also behind another's
question."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from medgym.train.kto.batch import MISMATCHED, Outcome, behind
from medgym.train.kto.trainer import OutcomeTrainer
from medgym.train.sft.samples import Collator, Sample
from tests.train.kto.conftest import BETA


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
    make_kto_trainer: Callable[..., OutcomeTrainer],
    loaded: Any,
    outcomes: list[Outcome],
    pictures: dict[str, Any],
) -> None:
    trainer = make_kto_trainer()
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
    assert kl > 0, "and the mismatched rows count"
    losses = []
    for ratio, each in zip(ratios, outcomes, strict=True):
        sign, weight = (1, 1.5) if each.desirable else (-1, 1.0)
        losses.append(weight * (1 - 1 / (1 + 2.718281828459045 ** (-sign * BETA * (ratio - kl)))))
    assert got == pytest.approx(sum(losses) / 4, abs=1e-4)
