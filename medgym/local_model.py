"""A policy whose weights are in this process: what training and the doctor ask of it.

Training holds the model itself: it optimises the weights and lets the same object sample. What it
needs of the policy around that model is declared here, so that training knows no back end and any
package may register another one in the entry-point group `medgym.local_models`.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from PIL import Image

from medgym.messages import Message
from medgym.model_options import DEFAULTS, ModelOptions
from medgym.models import load_model
from medgym.policy import Policy
from medgym.registry import load
from medgym.tool_form import ToolFormName

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

DEFAULT = "transformers"
"""The back end that training uses."""

PATIENCE = 0.02
"""Seconds without a new request after which the requests that wait are answered."""


class PromptTokens(Protocol):
    """A conversation as the model is given it."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All token ids, placeholders expanded."""

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images that have placeholders among them, in their order."""

    @property
    def image_tokens(self) -> tuple[int, ...]:
        """The number of placeholders of each image."""


@dataclass(frozen=True)
class ForcedTokens:
    """Tokens that a model is forced through.

    Attributes:
        ids: all tokens up to the last one of `places`, placeholders expanded.
        places: the indices in `ids` of the tokens whose log-probabilities are asked for.
        images: in the order of their placeholders.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]
    images: tuple[Image.Image, ...]


class LocalModel(Policy):
    """A policy over a model in this process.

    Attributes:
        model: the model, with or without adapters, in the mode in which the caller left it.
        processor: the model's processor, with a chat template.
        tool_role: the role under which a tool's images are shown: `tool` where the chat template
            places images there, else `user`.
    """

    local_model: ClassVar[bool] = True  # type: ignore[misc]
    takes_adapters: ClassVar[bool] = True  # type: ignore[misc]
    model: "PreTrainedModel"
    processor: "ProcessorMixin"
    tool_role: str

    @abstractmethod
    def prompt(self, conversation: Sequence[Message]) -> PromptTokens:
        """The tokens of a conversation, up to the next reply."""

    @abstractmethod
    def encode_reply(self, text: str) -> tuple[int, ...]:
        """The tokens of a reply that was written, not sampled, with its end."""

    @abstractmethod
    def logprobs(
        self,
        rows: Sequence[ForcedTokens],
        images: Sequence[Sequence[Image.Image]] | None = None,
        *,
        temperature: float = 1.0,
        banned: Sequence[int] = (),
        training: bool = False,
    ) -> list[list[float]]:
        """Teacher forcing: log-probabilities (nats) of tokens of each row, one for each place.

        Args:
            images: shown in place of the rows' own; as many and of the same sizes.
            temperature: of the distribution.
            banned: tokens that cannot be sampled.
            training: run the model in train mode, else in eval mode. Afterwards every module is in
                the mode that it was in, and so is the random generator.
        """

    @abstractmethod
    def count_image_features(self, images: Sequence[Image.Image]) -> int:
        """How many features the model's vision tower makes of images, by running it."""

    @abstractmethod
    def imitating(self, policy: Policy) -> Policy:
        """A policy that plays as `policy` does, in this model's tokens: demonstrations for SFT."""

    @abstractmethod
    def with_adapter(self, name: str, path: Path) -> Policy:
        """The policy that plays by an adapter over the same model.

        Raises:
            UserError: the adapter does not fit, or `name` is the name of another adapter.
        """

    @abstractmethod
    def drop_adapter(self, name: str) -> None:
        """Remove an adapter from the model. Unknown names are ignored."""


class LocalModelFactory(Protocol):
    """Makes a `LocalModel`; registered in the entry-point group `medgym.local_models`."""

    def __call__(
        self,
        model: "PreTrainedModel",
        processor: "ProcessorMixin",
        *,
        batch_size: int = 64,
        patience: float | None = PATIENCE,
        tool_form: ToolFormName = "text",
    ) -> LocalModel:
        """See `local_model`."""


def local_model(
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    *,
    batch_size: int = 64,
    patience: float | None = PATIENCE,
    tool_form: ToolFormName = "text",
) -> LocalModel:
    """The policy over a model that the caller holds.

    Args:
        model: an image-text-to-text model, with or without a PEFT adapter.
        processor: its processor, with a chat template.
        batch_size: requests answered at once.
        patience: seconds without a new request after which the requests that wait are answered,
            though some episodes are still busy with tools. None waits for every episode, so that
            batches, and with them the last bits of every number, do not depend on the clock.
        tool_form: how it is offered tools and calls them.

    Raises:
        UserError: the chat template cannot serve.
    """
    make: LocalModelFactory = load("local_models", DEFAULT)
    return make(model, processor, batch_size=batch_size, patience=patience, tool_form=tool_form)


def load_local_model(
    name: str,
    adapter: str | None = None,
    options: ModelOptions = DEFAULTS,
    *,
    check: "Callable[[ProcessorMixin], object] | None" = None,
    patience: float | None = PATIENCE,
    tool_form: ToolFormName = "text",
) -> LocalModel:
    """The policy over a model that is loaded for it, with the version of its adapter.

    Args:
        name, adapter, options, check: as `load_model` takes them.
        patience, tool_form: as `local_model` takes them.

    Raises:
        UserError: as `load_model` and `local_model` raise them.
    """
    model, processor, version = load_model(name, adapter, options, check=check)
    policy = local_model(model, processor, patience=patience, tool_form=tool_form)
    policy.version = version
    return policy
