"""A policy whose weights are in this process: what training asks of it.

Training holds the model itself: it optimises the weights and lets the same object sample. What it
needs of the policy around that model is declared here, so that training knows no back end and any
package may register another one in the entry-point group `medgym.local_models`.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Protocol

from medgym.policy import Policy
from medgym.registry import load

DEFAULT = "transformers"
"""The back end that training uses."""

PATIENCE = 0.02
"""Seconds without a new request after which the requests that wait are answered."""


class LocalModel(Policy):
    """A policy over a model in this process.

    Attributes:
        model: the model, with or without adapters, in the mode in which the caller left it.
        processor: the model's processor, with a chat template.
    """

    local_model: ClassVar[bool] = True  # type: ignore[misc]
    model: Any
    processor: Any

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
        model: Any,
        processor: Any,
        *,
        batch_size: int = 64,
        patience: float | None = PATIENCE,
    ) -> LocalModel:
        """See `local_model`."""


def local_model(
    model: Any,
    processor: Any,
    *,
    batch_size: int = 64,
    patience: float | None = PATIENCE,
) -> LocalModel:
    """The policy over a model that the caller holds.

    Args:
        model: an image-text-to-text model, with or without a PEFT adapter.
        processor: its processor, with a chat template.
        batch_size: requests answered at once.
        patience: seconds without a new request after which the requests that wait are answered,
            though some episodes are still busy with tools. None waits for every episode, so that
            batches, and with them the last bits of every number, do not depend on the clock.
    """
    make: LocalModelFactory = load("local_models", DEFAULT)
    return make(model, processor, batch_size=batch_size, patience=patience)
