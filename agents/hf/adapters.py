"""LoRA adapters of a transformers model in process: one base, several adapters by name.

PEFT keeps all adapters in the model and applies those that are active. A batch is of one adapter,
and afterwards the model is as it was: a trainer that shares it finds its own adapter active.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling
from medgym.spec import with_adapter
from medgym.storage.adapters import check_shapes, content

if TYPE_CHECKING:
    from .policy import HFPolicy


def add_adapter(model: Any, folder: Path, name: str) -> Any:
    """The model with an adapter added; the same model where it has adapters already.

    Raises:
        UserError: no adapter there, or it does not fit; the model is then as it was.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    # PEFT asks for what the newest transformers calls by another name.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    content(folder)
    weights = {n.replace(".base_layer.", "."): tuple(p.shape) for n, p in model.named_parameters()}
    check_shapes(folder, weights, "the model")
    has_others = isinstance(model, PeftModel)
    adapted = None
    try:
        if has_others:
            adapted = model
            model.load_adapter(str(folder), adapter_name=name)
        else:
            adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        # PEFT only warns of weights that it did not find, and says nothing of those left over.
        held = get_peft_model_state_dict(adapted, adapter_name=name)
        odd = held.keys() ^ load_peft_weights(str(folder)).keys()
        if odd:
            raise ValueError(f"{len(odd)} weights without a counterpart, as {min(odd)}")
    except Exception as error:
        if not has_others and adapted is not None:
            adapted.unload()
        elif has_others and name in model.peft_config:
            model.delete_adapter(name)
        raise UserError(
            f"the adapter {folder} does not fit the model ({reason_of(error)[:120]}); "
            "fix: name the adapter's own base"
        ) from error
    return adapted.eval()


@contextmanager
def playing_by(model: Any, adapter: str | None) -> Iterator[None]:
    """The model with one adapter active: "" for the bare base, None for it as it is."""
    if adapter is None:
        yield
    elif not adapter:
        with model.disable_adapter():
            yield
    else:
        active = model.active_adapter
        model.set_adapter(adapter)
        try:
            yield
        finally:
            model.set_adapter(active)


class AdaptedHF(Policy):
    """An `hf:` policy's model, playing by one of its adapters.

    Attributes:
        version: the adapter's name.
    """

    kind: ClassVar[Literal["sampled"]] = "sampled"  # type: ignore[misc]
    local_model: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(self, base: "HFPolicy", name: str, path: Path) -> None:
        self.base = base
        self.version = name
        self.renderer = base.renderer
        self.vision_token_ids = base.vision_token_ids
        self.spec = with_adapter(base.spec, str(path)) if base.spec else ""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with whatever else waits for this adapter."""
        return await self.base.ask(conversation, sampling, self.version)

    def enter(self) -> None:
        """An episode begins."""
        self.base.enter()

    def leave(self) -> None:
        """An episode is over."""
        self.base.leave()
