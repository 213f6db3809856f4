"""What learns is in float32.

A step of an optimiser is often smaller than half a step of bfloat16, and then the weight does not
move: at a learning rate of 1e-5 hardly one weight in thirty does, while the loss falls as usual. So
weights that learn are float32, and autocast computes in 16 bits where the trainer is asked to.

A model that learns as a whole is float32 as a whole: the same model also samples and is looked into
outside of autocast, where layers of two types do not fit together. Under an adapter the frozen base
stays as it was loaded, and the adapter is float32.

Afterwards weights are cast back, once, to the type that they were loaded in. Under autocast
every product was computed with weights rounded to 16 bits, so what is saved is what the model
computed with; only the remainder, with which an optimiser would continue, is lost.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel


def dtypes_of(model: torch.nn.Module) -> dict[str, torch.dtype]:
    """The type of each weight, for `cast_weights`."""
    return {name: weight.dtype for name, weight in model.named_parameters()}


def cast_weights(model: torch.nn.Module, dtypes: Mapping[str, torch.dtype]) -> None:
    """Give weights other types, by name; those that have them already stay the same tensors."""
    for name, weight in model.named_parameters():
        if name in dtypes and weight.dtype != dtypes[name]:
            weight.data = weight.data.to(dtypes[name])


def learn_in_float32(model: torch.nn.Module, *, whole: bool) -> None:
    """Make what learns float32.

    Args:
        whole: the frozen rest as well, for a model that learns without an adapter.
    """
    for weight in model.parameters():
        is_wide = weight.dtype == torch.float32 or not weight.is_floating_point()
        if not is_wide and (whole or weight.requires_grad):
            weight.data = weight.data.float()


class LearnsInFloat32:
    """Mixed into a `transformers.Trainer`: what it trains is in float32 before it is asked to."""

    def __init__(self: Any, **kwargs: Any) -> None:
        model = kwargs.get("model")
        if isinstance(model, torch.nn.Module):
            is_adapted = kwargs.get("peft_config") is not None or isinstance(model, PeftModel)
            if not is_adapted:  # first: TRL makes the reference model in the same type
                learn_in_float32(model, whole=True)
        super().__init__(**kwargs)
        # TRL makes adapters over a quantized base bfloat16.
        learn_in_float32(self.model, whole=False)
