"""The loss of pairs is the sum of its terms, by hand and as TRL computes it."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medgym.train.dpo.batches import PairBatches, weights_of
from medgym.train.dpo.loss import PAIR, Outputs

POLICY = ((-1.0, -4.0), (-2.5, -3.0), (-1.5, -6.0))
"""Log-probabilities of two pairs: chosen replies, rejected ones, chosen ones with other images."""

REFERENCE = ((-1.5, -4.0), (-2.0, -2.0), (-1.0, -5.0))

TOKENS = (2, 4)
"""Of the chosen replies, over which they are spread evenly."""


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def by_hand(pair: int, terms: dict[str, float], beta: float) -> float:
    chosen, rejected, other = (POLICY[row][pair] - REFERENCE[row][pair] for row in range(3))
    values = {
        "dpo": -log_sigmoid(beta * (chosen - rejected)),
        "image": -log_sigmoid(beta * (chosen - other)),
        "anchor": -log_sigmoid(beta * chosen),
        "nll": -POLICY[0][pair] / TOKENS[pair],
    }
    return sum(terms.get(name, 1.0 if name == "dpo" else 0.0) * v for name, v in values.items())


def said(rows: tuple[tuple[float, ...], ...]) -> Any:
    """A model that gives these log-probabilities, at the end of each reply but for the first."""
    width = max(TOKENS) + 1

    def model(*, labels: torch.Tensor, **_: Any) -> Any:
        flat = [value for row in rows for value in row][: len(labels)]
        logps = torch.zeros(len(flat), width - 1)
        for at, value in enumerate(flat):
            tokens = TOKENS[at % 2]
            logps[at, :tokens] = value / tokens
        logps.requires_grad_(True)
        zero = torch.zeros(len(flat), width - 1)
        return SimpleNamespace(log_probs=logps, entropy=zero, mean_logits=zero, is_top1=zero.bool())

    return model


def batch(rows: int) -> dict[str, torch.Tensor]:
    width = max(TOKENS) + 1
    mask = torch.zeros(2 * rows, width, dtype=torch.long)
    for at in range(2 * rows):
        mask[at, 1 : 1 + TOKENS[at % 2]] = 1
    ids = torch.ones_like(mask)
    held = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask}
    return held | {PAIR: torch.tensor([0, 1])}


@pytest.mark.parametrize("weight", ["uniform", "score"])
@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"image": 1.0, "dpo": 0.0},
        {"anchor": 1.0, "dpo": 0.0},
        {"nll": 1.0, "dpo": 0.0},
        {"dpo": 0.5, "image": 2.0, "anchor": 3.0, "nll": 0.2},
    ],
)
def test_each_term_is_its_formula(terms: dict[str, float], weight: str, shared_make: Any) -> None:
    trainer = shared_make(terms, weight, 0.3)
    rows = 3 if terms.get("image") else 2
    trainer._references = torch.tensor(REFERENCE[:rows]).T
    loss = trainer._compute_loss(said(POLICY), batch(rows), False)
    weights = (1.0, 1.0) if weight == "uniform" else (0.25, 0.5)
    expected = [weights[pair] * by_hand(pair, terms, 0.3) for pair in (0, 1)]
    assert loss.item() == pytest.approx(sum(expected) / 2, abs=1e-6)
    figures = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert figures["rewards/chosen"] == pytest.approx(0.3 * (0.5 + 0.0) / 2, abs=1e-6)
    assert figures["logps/chosen_change"] == pytest.approx((0.5 / 2 + 0.0) / 2, abs=1e-6)
    if rows == 3:
        assert figures["rewards/other"] == pytest.approx(0.3 * (-0.5 - 1.0) / 2, abs=1e-6)
        assert figures["rewards/other_accuracies"] == 1.0
    if weight == "score":
        assert figures["pairs/weight"] == pytest.approx(0.375)


@pytest.fixture(scope="module")
def shared_make(build: Any) -> Any:
    """One trainer, whose terms, weights and beta are set; no step was taken, so none is held."""
    trainer = build(terms={"image": 1.0})

    def of(terms: dict[str, float], weight: str, beta: float) -> Any:
        trainer._terms = type(trainer._terms)(**terms)
        trainer._weights = torch.tensor([1.0, 1.0] if weight == "uniform" else [0.25, 0.5])
        trainer._uniform = weight == "uniform"
        trainer.beta = beta
        trainer.state.global_step = 1
        trainer._metrics["train"].clear()
        trainer.model.train()
        return trainer

    return of


def losses(trainer: Any) -> list[float]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def test_mdpo_begins_at_three_times_ln_2_and_own_images_come_to_be_preferred(build: Any) -> None:
    trainer = build(terms={"image": 1.0, "anchor": 1.0}, images={"how": "blank"}, max_steps=4)
    found = losses(trainer)
    assert found[0] == pytest.approx(3 * math.log(2), abs=1e-6)
    assert found[-1] < found[0] - 0.1
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert rows[0]["rewards/other"] == 0.0
    assert rows[-1]["rewards/other_accuracies"] == 1.0
    assert rows[0]["pairs/unchanged_images"] == 0.0


def test_pairs_whose_images_are_not_exchanged_are_counted(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(terms={"image": 1.0}, images={"how": "blank"}, max_steps=1)
    monkeypatch.setattr(trainer._batches, "_exchange", lambda number, pair: {})
    losses(trainer)
    assert trainer.state.log_history[0]["pairs/unchanged_images"] == 1.0


class Plain(PairBatches):
    """Batches without a column that TRL does not know: it would go to the model."""

    def __call__(self, rows: Any) -> Any:
        return {name: value for name, value in super().__call__(rows).items() if name != PAIR}


@pytest.mark.parametrize("asked", [{}, {"loss_type": ["ipo", "sft"], "loss_weights": [1.0, 0.5]}])
def test_without_further_terms_the_loss_is_trls(
    asked: dict[str, Any], build: Any, given: Any, tiny_folder: Any, trls_trainer: Any
) -> None:
    ours = losses(build(**asked))
    trls = losses(trls_trainer(Plain, **asked))
    assert len(ours) == 3
    assert ours == pytest.approx(trls, abs=1e-4)
    assert ours[2] < ours[0] - 0.01


def test_weights_reach_the_loss_and_no_model(build: Any, given: Any) -> None:
    """Qwen3-VL takes any keyword, without a word and without effect."""
    trainer = build(weight="score", terms={"nll": 0.1})
    seen: set[str] = set()
    inner = trainer.model.get_base_model()
    before = inner.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        seen.update(kwargs)
        return before(*args, **kwargs)

    inner.forward = forward
    rows = trainer._batches([{PAIR: n} for n in range(4)])
    loss = trainer._compute_loss(trainer.model, rows, False)
    assert not seen & {PAIR, "completion_mask", "weight", "weights"}
    weights = weights_of(given.pairs, "score")
    outputs = Outputs(trainer.model, rows)
    nll = (-outputs.logps[:4] / outputs.tokens[:4] * weights).mean()
    assert loss.item() == pytest.approx(float(math.log(2) * weights.mean() + 0.1 * nll), abs=1e-5)
