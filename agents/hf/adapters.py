"""LoRA adapters of a transformers model in this process: one base, several adapters by name.

PEFT keeps all adapters in the model and applies those that are active. A batch is of one adapter,
and afterwards the model is as it was: a trainer that shares it finds its own adapter active.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
