"""The tiny model is a plain Qwen3-VL that starts the same from one seed and survives a disk."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, Qwen3VLForConditionalGeneration

from medgym.train.tiny.model import TinyConfig, build_model, cosine_waves, sines
from medgym.train.tiny.tokenizer import IMAGE, PATCH, VISION_END, VISION_START

SMALL = TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2)


def scores(model: Any, processor: Any, picture: Image.Image) -> torch.Tensor:
    text = f"{VISION_START}{IMAGE}{VISION_END}?"
    inputs = processor(text=[text], images=[picture], return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**inputs).logits[0, -1]


def test_it_is_small_and_of_a_real_class(tiny_processor: Any) -> None:
    model = build_model(TinyConfig(), tiny_processor.tokenizer, seed=0)
    assert type(model) is Qwen3VLForConditionalGeneration
    assert sum(weight.numel() for weight in model.parameters()) < 1_000_000


def test_a_seed_makes_one_model_and_leaves_the_global_chance_alone(tiny_processor: Any) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = (build_model(SMALL, tiny_processor.tokenizer, seed=s) for s in (1, 1, 2))
    assert torch.rand(3).equal(expected)
    states = [model.state_dict() for model in (one, same, other)]
    assert all(states[0][k].equal(states[1][k]) for k in states[0])
    assert any(not states[0][k].equal(states[2][k]) for k in states[0])


def test_it_scores_the_same_after_saving(tiny_processor: Any, tmp_path: Path) -> None:
    model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    picture = Image.effect_noise((64, 48), 60).convert("RGB")
    old, new = (scores(m, tiny_processor, picture) for m in (model, again))
    assert old.equal(new)
    assert again.generation_config.eos_token_id == tiny_processor.tokenizer.eos_token_id


def test_what_it_sees_moves_its_scores(tiny_processor: Any) -> None:
    model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
    pictures = [Image.new("RGB", (64, 64), c) for c in ("black", "white")]
    dark, bright = (scores(model, tiny_processor, picture) for picture in pictures)
    assert not torch.allclose(dark, bright)


def test_cosine_waves_are_an_orthonormal_basis() -> None:
    waves = cosine_waves(PATCH).reshape(PATCH * PATCH, -1)
    assert np.allclose(waves @ waves.T, np.eye(PATCH * PATCH))
    assert np.ptp(waves[0]) == 0


def test_every_place_has_its_own_sines() -> None:
    places = sines(8, 96)
    assert places.shape == (64, 96)
    assert len(np.unique(places.round(6), axis=0)) == 64
