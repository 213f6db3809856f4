"""What a policy is: something that reads a conversation and writes a reply."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medgym.cases import Case
from medgym.errors import UserError
from medgym.messages import Message, Reply


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. `temperature` 0 is greedy; `seed` fixes the draw of this one reply."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf") and 0 < self.top_p <= 1):
            raise UserError(
                f"cannot sample at temperature {self.temperature} and top_p {self.top_p}; mend: a "
                "temperature of 0 or more, a top_p above 0 and up to 1"
            )
        if self.max_tokens < 1:
            raise UserError(f"max_tokens is {self.max_tokens}; mend: allow at least one token")


class Policy(ABC):
    """A policy, named by a spec: `scripted:oracle`, `hf:PATH`, `hf:PATH@ADAPTER`.

    Registered in the entry-point group `medgym.policies` under the part before the colon.

    Attributes:
        spec: the spec that names it, as trajectories record it.
        needs_gold: whether it plays with the gold before it, as the oracle does; such a policy is
            asked for a player of each case by `for_case`, and never trains as a sampler.
        kind: whether its replies carry tokens that it `sampled`, tokens of a `demonstration`, or
            `text` alone.
        vision_token_ids: tokens that stand for images, the placeholder first; never sampled.
        version: of the adapter that plays, empty without one.
        local_model: whether it holds a model that is to be in memory once: on Ray, in an actor.
    """

    spec: str = ""
    needs_gold: bool = False
    kind: Literal["sampled", "demonstration", "text"] = "text"
    vision_token_ids: tuple[int, ...] = ()
    version: str = ""
    local_model: bool = False

    @classmethod
    @abstractmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "Policy":
        """Build it from what follows the colon; `UserError` where that names nothing."""

    @abstractmethod
    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next reply of the conversation, whose last message is not the policy's."""

    def for_case(self, case: Case) -> "Policy":
        """The player of one case; a policy that does not need gold is its own."""
        return self

    def enter(self) -> None:  # noqa: B027 - most policies answer each request by itself
        """An episode begins: a policy that answers many at once may wait for its requests."""

    def leave(self) -> None:  # noqa: B027
        """An episode that entered is over, however it ended."""

    def close(self) -> None:  # noqa: B027 - most policies hold nothing that needs closing
        """Give back what it holds."""


def load_policy(spec: str) -> Policy:
    """The policy that a spec names: `SCHEME:NAME`, or the scheme alone where it needs no name.

    Raises:
        UserError: a spec without a scheme, an unknown scheme, or what the scheme itself refuses.
    """
    from medgym.registry import load, names

    scheme, colon, rest = spec.partition(":")
    if (not rest) if colon else (scheme not in names("policies")):
        known = ", ".join(names("policies"))
        raise UserError(f"cannot read the policy {spec!r}; write SCHEME:NAME, schemes: {known}")

    rest, _, adapter = rest.partition("@")
    policy = load("policies", scheme).from_spec(rest, adapter or None)
    assert isinstance(policy, Policy)
    policy.spec = spec
    return policy
