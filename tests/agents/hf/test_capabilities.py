"""What may be held is found by trying: right families pass, every way of going wrong is caught."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration

from medgym.agents.hf import inputs as inputs_module
from medgym.agents.hf import kv_cache, prefill
from medgym.agents.hf.policy import HFPolicy
from medgym.policy import Sampling
from tests.agents.hf.test_decoder import anew, play_all, scripts
from tests.families import CACHED, build

MROPE = ("qwen2.5-vl", "qwen3-vl", "glm4v")


def holds(model: Any, processor: Any) -> bool:
    policy = HFPolicy(model, processor)
    policy.generate([policy.renderer.prompt(_question())], [Sampling(max_tokens=1)])
    assert policy._runner is not None
    return policy._runner[1] is not None


def _question() -> Any:
    from medgym.messages import message

    return [message("user", "Which?")]


@pytest.mark.parametrize("family", CACHED)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_families_hold(family: str, kind: torch.dtype) -> None:
    model, processor = build(family)
    assert holds(model.to(kind), processor)


def test_a_model_in_float32_holds_under_autocast_as_training_on_a_gpu_samples() -> None:
    model, processor = build("glm4v")
    with torch.autocast("cpu", torch.bfloat16):
        assert holds(model, processor)


def test_a_model_is_tried_again_where_it_computes_in_another_type() -> None:
    policy = HFPolicy(*build("qwen3-vl"))
    prompt, one = policy.renderer.prompt(_question()), Sampling(max_tokens=1)
    policy.generate([prompt], [one])
    before = policy._runner
    with torch.autocast("cpu", torch.bfloat16):
        policy.generate([prompt], [one])
    assert policy._runner is not before


def windowed(window: int) -> tuple[Any, Any]:
    """A Gemma 3 whose sliding layers see less than one turn."""
    model, processor = build("gemma3")
    model.config.text_config.sliding_window = window
    for layer in model.model.language_model.layers:
        if layer.self_attn.sliding_window:
            layer.self_attn.sliding_window = window
    return model, processor


def test_sliding_windows_far_shorter_than_a_turn_hold() -> None:
    policy = HFPolicy(*windowed(12))
    for said, replies in play_all(policy, scripts()):
        for reply in replies:
            assert reply.logprobs == pytest.approx(anew(policy, said, reply), abs=1e-4)
    assert policy._runner is not None
    assert policy._runner[1] is not None


def _types_of_new_tokens_alone(patch: Any) -> None:
    def types(self: Any, ids: Any, columns: int) -> Any:
        return (ids == self._renderer.image_token_id).long()

    patch.setattr(inputs_module.ChunkInputs, "_token_types", types)


def _positions_of_text(patch: Any) -> None:
    def positions(self: Any, chunk: Any, grids: Any) -> Any:
        return torch.arange(len(chunk)).expand(3, -1), len(chunk)

    patch.setattr(inputs_module.ChunkInputs, "_positions", positions)


def _positions_off_by_one(patch: Any) -> None:
    real = inputs_module.ChunkInputs._positions

    def positions(self: Any, chunk: Any, grids: Any) -> Any:
        place, following = real(self, chunk, grids)
        return place, following + 1

    patch.setattr(inputs_module.ChunkInputs, "_positions", positions)


def _padding_is_seen(patch: Any) -> None:
    real = prefill.mask_of
    patch.setattr(prefill, "mask_of", lambda *args: torch.ones_like(real(*args)))


def _padding_overwrites(patch: Any) -> None:
    real = kv_cache._CacheLayer.update

    def update(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._arena.real = None
        return real(self, *args, **kwargs)

    patch.setattr(kv_cache._CacheLayer, "update", update)


FAULTS: list[tuple[Callable[[Any], None], tuple[str, ...]]] = [
    (_types_of_new_tokens_alone, ("gemma3",)),
    (_positions_of_text, MROPE),
    (_positions_off_by_one, CACHED),
    (_padding_is_seen, CACHED),
    (_padding_overwrites, CACHED),
]


@pytest.mark.parametrize(
    ("fault", "family"), [(fault, family) for fault, families in FAULTS for family in families]
)
def test_a_fault_is_caught_and_the_plain_way_taken(
    fault: Callable[[Any], None], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert not holds(*build(family))


def recurrent() -> tuple[Any, Any]:
    """An InternVL over an LFM2, two of whose layers keep a state of their own."""
    model, processor = build("internvl")
    tokenizer = processor.tokenizer
    text = model.config.text_config.to_dict() | {
        "model_type": "lfm2",
        "num_hidden_layers": 3,
        "layer_types": ["conv", "full_attention", "conv"],
        "block_auto_adjust_ff_dim": False,
    }
    config = InternVLConfig(
        text_config={name: text[name] for name in (
            "model_type", "num_hidden_layers", "layer_types", "block_auto_adjust_ff_dim",
            "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads",
            "num_key_value_heads", "initializer_range", "bos_token_id", "eos_token_id",
            "pad_token_id",
        )},
        vision_config=model.config.vision_config,
        image_token_id=model.config.image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other = InternVLForConditionalGeneration(config).eval()
    other.generation_config.pad_token_id = tokenizer.pad_token_id
    other.generation_config.eos_token_id = tokenizer.eos_token_id
    return other, processor


def test_a_recurrent_model_is_read_anew_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    policy = HFPolicy(*recurrent())
    config = policy.model.generation_config  # biases no token, and is given back
    config.repetition_penalty, config.top_k = 1.5, 1
    with caplog.at_level(logging.WARNING, logger="medgym"):
        played = play_all(policy, scripts())
    (said,) = [record.getMessage() for record in caplog.records if record.name == "medgym"]
    assert said == (
        "InternVLForConditionalGeneration prefills the whole conversation at each turn: it keeps "
        "recurrent states"
    )
    assert policy.model.generation_config is config
    for conversation, replies in played:
        for reply in replies:
            assert reply.logprobs == pytest.approx(anew(policy, conversation, reply), abs=1e-4)
