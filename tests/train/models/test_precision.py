"""What learns is float32, whatever type the base is loaded in, and what is saved is cast once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from medgym.model_options import ModelOptions
from medgym.train.models.checkpoint import load_model
from tests.train.sft.test_stage import learn, play

HALF = ModelOptions(dtype="bfloat16")


@pytest.fixture(scope="module")
def half_folder(tiny_folder: Path, tiny_processor: Any, tmp_path_factory: Any) -> Path:
    """The tiny model as checkpoints are stored: in bfloat16."""
    folder: Path = tmp_path_factory.mktemp("half")
    load_model(tiny_folder, HALF)[0].save_pretrained(folder)
    tiny_processor.save_pretrained(folder)
    return folder


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """The share of weights that are other than before, in what moved at all."""
    pairs = [(before[name], after[name]) for name in before if not before[name].equal(after[name])]
    return sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_whole_model_learns_by_grpo_in_float32(
    bf16: bool, half_folder: Path, make_trainer: Callable[..., Any], uneven: Any
) -> None:
    trainer = make_trainer(
        loaded=load_model(half_folder, HALF), peft_config=None, rules=uneven, bf16=bf16,
        learning_rate=1e-6, max_steps=1, beta=0.1,
    )  # fmt: skip
    before = weights(trainer.model)
    assert {weight.dtype for weight in before.values()} == {torch.float32}
    assert trainer.ref_model.dtype == torch.float32
    trainer.train()
    assert moved(before, weights(trainer.model)) > 0.9
    logged = [row for row in trainer.state.log_history if "kl" in row]
    assert logged[0]["kl"] == pytest.approx(0, abs=1e-6), "the reference computes as the policy"


def test_a_whole_model_learns_by_imitation_in_float32_and_is_cast_once(
    half_folder: Path, tiny_processor: Any
) -> None:
    wide, _ = load_model(half_folder)
    half, _ = load_model(half_folder, HALF)
    assert (wide.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    shown = play(wide, tiny_processor)
    settings = {"settings": {"learning_rate": 1e-5}}
    expected = weights(learn(wide, tiny_processor, shown, **settings))
    learned = learn(half, tiny_processor, shown, **settings)
    assert learned.dtype == torch.bfloat16
    for name, weight in learned.named_parameters():
        assert torch.equal(weight, expected[name].bfloat16()), name
    again = load_model(half_folder)[0]
    assert moved(weights(again), expected) > 0.9


def test_an_adapter_is_float32_over_a_base_that_stays_as_it_is(
    half_folder: Path, make_trainer: Callable[..., Any], uneven: Any
) -> None:
    trainer = make_trainer(
        loaded=load_model(half_folder, HALF), rules=uneven, bf16=True, learning_rate=1e-6,
        max_steps=1,
    )  # fmt: skip
    before = weights(trainer.model)
    kinds = {w.requires_grad: w.dtype for w in trainer.model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    trainer.train()
    after = weights(trainer.model)
    changed = [name for name in before if not before[name].equal(after[name])]
    assert changed
    assert all("lora_" in name for name in changed)


def test_a_model_trained_without_an_adapter_is_stored_as_its_base_was(
    half_folder: Path, tmp_path: Path, uneven: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where the base is loaded in the type in which it is stored."""
    from tests.train.grpo import test_stage

    monkeypatch.setattr("medgym.train.models.checkpoint.load_model", lambda p: load_model(p, HALF))
    recipe = test_stage.small()
    one = recipe.model_copy(update={"grpo": recipe.grpo | {"max_steps": 1}})
    place = test_stage.train(one, half_folder, tmp_path / "run", uneven)
    stored = AutoModelForImageTextToText.from_pretrained(place.whole, dtype="auto")
    assert stored.dtype == torch.bfloat16
    base = AutoModelForImageTextToText.from_pretrained(half_folder, dtype="auto")
    assert moved(weights(base), weights(stored)) > 0, "it learned"


def test_an_adapter_learns_over_a_quantized_base_and_is_merged_into_the_whole_one(
    tiny_folder: Path, tiny_processor: Any, make_trainer: Callable[..., Any], uneven: Any
) -> None:
    pytest.importorskip("bitsandbytes")
    from medgym.train.models.lora import lora_config

    small = ModelOptions(quantization="4bit")
    loaded = load_model(tiny_folder, small)
    lora = lora_config(loaded[0], {"r": 4}, ("language",))
    trainer = make_trainer(loaded=loaded, peft_config=lora, rules=uneven)
    before = weights(trainer.model)
    assert {w.dtype for w in trainer.model.parameters() if w.requires_grad} == {torch.float32}
    trainer.train()
    after = weights(trainer.model)
    changed = [name for name in before if not before[name].equal(after[name])]
    assert changed
    assert all("lora_" in name for name in changed)
    apart = [row["sampling/sampling_logp_difference/max"] for row in trainer.state.log_history
             if "sampling/sampling_logp_difference/max" in row]  # fmt: skip
    assert all(each < 1e-3 for each in apart)

    whole = load_model(tiny_folder)[0]
    was = weights(whole)
    learned = learn(
        load_model(tiny_folder, small)[0], tiny_processor, play(whole, tiny_processor),
        lora={"r": 4}, unquantized=lambda: whole,
    )  # fmt: skip
    assert learned.dtype == torch.float32
    changed = [name for name, w in learned.named_parameters() if not w.equal(was[name])]
    assert changed
    assert all("language_model" in name for name in changed)


def test_the_parts_that_see_are_those_that_are_not_quantized() -> None:
    from medgym.model_loading import UNQUANTIZED
    from medgym.train.models import lora

    assert set(UNQUANTIZED) >= lora.PROJECTORS | lora.TOWERS | lora.AUDIO
