"""What a policy is: something that reads a conversation and writes a reply."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medgym.cases import Case
from medgym.errors import UserError
from medgym.messages import Message, Reply
from medgym.registry import load, names
from medgym.spec import split_spec, without_credentials


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. `temperature` 0 is greedy; `seed` fixes the draw of this one reply.

    `max_context` bounds prompt and `max_tokens` together: a policy that counts tokens answers a
    prompt that is too long for that with `Reply(full=True)`.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0
    max_context: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf") and 0 < self.top_p <= 1):
            raise UserError(
                f"cannot sample at temperature {self.temperature} and top_p {self.top_p}; fix: a "
                "temperature of 0 or more, a top_p above 0 and up to 1"
            )
        if self.max_tokens < 1:
            raise UserError(f"max_tokens is {self.max_tokens}; fix: allow at least one token")


class Policy(ABC):
    """A policy, named by a spec: `scripted:oracle`, `hf:PATH`, `hf:PATH@ADAPTER`.

    Registered in the entry-point group `medgym.policies` under the part before the colon.

    Attributes:
        spec: the spec that names it, as trajectories record it.
        needs_gold: whether it plays with the gold before it, as the oracle does; such a policy is
            asked for a player of each case by `for_case`, and never trains as a sampler.
        kind: whether its replies carry tokens that it `sampled`, tokens of a `demonstration`, or
            `text` alone. Trajectories of the first kind alone train by reinforcement.
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
    def from_spec(cls, rest: str, adapter: str | None) -> "Policy":
        """Build it from what follows the colon.

        Raises:
            UserError: that names nothing; or, as here, the policy is built in code alone.
        """
        raise UserError(
            f"the policy {cls.__name__} is built in code and has no spec; fix: build it there, or "
            "give its class a from_spec"
        )

    @classmethod  # noqa: B027 - most policies have no weights that could be left away
    def check_spec(cls, rest: str, adapter: str | None) -> None:
        """Refuse what `from_spec` would, as far as it shows without the weights of a model.

        Asked in this process of a policy with a `local_model` that is loaded on Ray alone.

        Raises:
            UserError: the model or its adapter is missing, does not fit, ...
        """

    def describe(self) -> dict[str, Any]:
        """What its spec leads to and does not say itself, as the contents of a file that it names.

        A run records it with what was asked, so that no other policy goes on with the run.
        """
        return {}

    @abstractmethod
    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The next reply of the conversation, whose last message is not the policy's."""

    @property
    def trains(self) -> bool:
        """Whether its replies carry exact token ids and their log-probabilities."""
        return self.kind == "sampled"

    async def check(self) -> None:  # noqa: B027 - what holds its model is ready once it is made
        """Make sure that it is ready to play; commands ask before they write anything.

        Raises:
            UserError: its endpoint is down, does not serve the model, cannot show it images, ...
        """

    def require_training(self) -> None:
        """Insist on replies that can train, from here on.

        Raises:
            UserError: it can play, but not train; says why.
        """
        if not self.trains:
            raise UserError(
                f"{self.spec or type(self).__name__} can play, but not train: its replies carry no "
                "token ids with log-probabilities; fix: train hf:PATH, vllm:PATH, or openai: with "
                "a vLLM server"
            )

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
    """The policy that a spec names: `SCHEME:NAME`, or the scheme only where it needs no name.

    `NAME@ADAPTER` and `NAME?adapter=PATH` play by an adapter; `medgym.spec` says how that is read.
    Its `spec` is the given one without the password that a URL may hold: runs record it.

    Raises:
        UserError: a spec without a scheme, an unknown scheme, or what the scheme itself refuses.
    """
    kind, rest, adapter = read_spec(spec)
    policy = kind.from_spec(rest, adapter)
    assert isinstance(policy, Policy)
    policy.spec = without_credentials(spec)
    return policy


def read_spec(spec: str) -> tuple[type[Policy], str, str | None]:
    """The class that a spec's scheme stands for, and what its `from_spec` is given.

    Raises:
        UserError: a spec without a scheme, an unknown scheme, or an adapter without a name.
    """
    scheme, rest, adapter = split_spec(spec)
    if (not rest) if ":" in spec else (scheme not in names("policies")):
        known = ", ".join(names("policies"))
        raise UserError(
            f"cannot read the policy {without_credentials(spec)!r}; fix: write SCHEME:NAME, where "
            f"SCHEME is one of {known}"
        )
    if adapter == "":
        raise UserError(
            f"{without_credentials(spec)} names no adapter; fix: name one after the @, or omit it"
        )
    kind: type[Policy] = load("policies", scheme)
    return kind, rest, adapter
