"""LoRA adapters of a transformers model in this process: one base, several adapters by name.

PEFT keeps all adapters in the model and applies those that are active. A batch is of one adapter,
and afterwards the model is as it was: a trainer that shares it finds its own adapter active.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, WrappedPolicy
from medgym.spec import with_adapter

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


class AdaptedHF(WrappedPolicy):
    """An `hf:` policy's model, playing by one of its adapters.

    Attributes:
        version: the adapter's name.
    """

    policy: Any  # an HFPolicy, whose module imports this one

    def __init__(self, base: Policy, name: str, path: Path) -> None:
        super().__init__(base)
        self.version = name
        self.spec = with_adapter(base.spec, str(path)) if base.spec else ""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Sample the next reply, together with the other requests for this adapter."""
        reply: Reply = await self.policy.ask(conversation, sampling, self.version)
        return reply

    def with_adapter(self, name: str, path: Path) -> Policy:
        """See `Policy`; an adapter is over the base, not over this adapter."""
        policy: Policy = self.policy.with_adapter(name, path)
        return policy
