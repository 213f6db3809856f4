"""A family by name; and the same model made blind."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from .gemma import gemma3, gemma4
from .glm import glm4v
from .internvl import internvl
from .llava import llava_onevision
from .qwen import qwen2_5_vl, qwen3_5, qwen3_vl

_BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2.5-vl": qwen2_5_vl,
    "qwen3-vl": qwen3_vl,
    "internvl": internvl,
    "gemma3": gemma3,
    "qwen3.5": qwen3_5,
    "gemma4": gemma4,
    "glm4v": glm4v,
    "llava-onevision": llava_onevision,
}
FAMILIES = tuple(_BUILDERS)

CACHED = tuple(family for family in FAMILIES if family != "qwen3.5")
"""Those whose keys and values are kept between turns; Qwen3.5 keeps recurrent states."""


def build(family: str, *, seed: int = 0) -> tuple[Any, Any]:
    """A tiny model of a family in float32 and eval mode, and its processor.

    Args:
        family: one of `FAMILIES`.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = _BUILDERS[family]()
    tokenizer = processor.tokenizer
    if not isinstance(model.generation_config.eos_token_id, list):
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), processor


def blind(model: Any) -> Any:
    """The same model, whose image features are zeroed on their way to the language model."""
    inner = model.model
    # Qwen's vision tower makes the features itself, Qwen3-VL's more than one layer of them.
    tower = next(
        getattr(inner, name)
        for name in ("visual", "multi_modal_projector", "embed_vision")
        if hasattr(inner, name)
    )
    tower.register_forward_hook(lambda module, given, made: _zeroed(made))
    return model


def _zeroed(made: Any) -> Any:
    if isinstance(made, torch.Tensor):
        return torch.zeros_like(made)
    if isinstance(made, Mapping):  # a model's output: the same class with other tensors
        return type(made)(**{name: _zeroed(value) for name, value in made.items()})
    return type(made)(map(_zeroed, made)) if isinstance(made, list | tuple) else made
