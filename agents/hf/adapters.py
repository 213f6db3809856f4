"""LoRA adapters of a transformers model in this process: one base, several adapters by name.

PEFT keeps all adapters in the model and applies those that are active. A batch is of one adapter,
and afterwards the model is as it was: a trainer that shares it finds its own adapter active.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def playing_by(model: "PreTrainedModel", adapter: str | None) -> Iterator[None]:
    """The model with one adapter active: "" for the bare base, None for it as it is."""
    peft: Any = model
    if adapter is None:
        yield
    elif not adapter:
        with peft.disable_adapter():
            yield
    else:
        active = peft.active_adapter
        peft.set_adapter(adapter)
        try:
            yield
        finally:
            peft.set_adapter(active)


class WatchedWeights:
    """Tells when a model's weights, or the adapters that are active, have changed.

    A watch is of one set of weights: where adapters come or go, a new one begins.
    """

    def __init__(self) -> None:
        self._weights: list[torch.Tensor] | None = None
        self._state: int | None = None

    def changed(self, model: "PreTrainedModel") -> bool:
        """Whether they are others than at the last call, or this is the first one."""
        if self._weights is None:
            self._weights = list(model.parameters())
        state = [(weight.data_ptr(), weight._version) for weight in self._weights]
        active = getattr(model, "active_adapters", None)  # of a bare model, a method
        now = hash((tuple(state), None if callable(active) else str(active)))
        before, self._state = self._state, now
        return now != before
