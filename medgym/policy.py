"""What a policy is: something that reads a conversation and writes a reply."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from medgym import permissions
from medgym.cases import Case
from medgym.errors import UserError
from medgym.failures import ContractError, calling
from medgym.messages import Message, Reply
from medgym.redaction import redact_text
from medgym.registry import load, names
from medgym.spec import shown, split_spec


@dataclass(frozen=True)
class Sampling:
    """How a reply is sampled.

    Attributes:
        temperature: 0 is greedy.
        top_p: the share of the probability from which tokens are sampled.
        max_tokens: the longest reply.
        seed: fixes the tokens of this one reply.
        max_context: bounds the prompt and `max_tokens` together. A policy that counts tokens
            answers a prompt that is too long for it with `Reply(full=True)`.
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

    Registered in the entry-point group `medgym.policies` under the part before the colon. All that
    medgym ever asks of a policy is declared here, with a default for what most policies lack.

    Attributes:
        spec: the spec that names it, as trajectories record it.
        needs_gold: whether it needs the gold answer, as the oracle does. Such a policy is asked for
            a player of each case by `for_case`, and never trains as a sampler.
        kind: whether its replies carry tokens that it `sampled`, tokens of a `demonstration`, or
            only `text`. Only trajectories of the first kind train by reinforcement.
        vision_token_ids: tokens that stand for images, the placeholder first; never sampled.
        version: of the adapter that plays, empty without one.
        local_model: whether it holds a model that must be in memory only once: on Ray, in an actor.
        takes_adapters: whether `with_adapter` loads adapters while it runs.
        drifts: how many of its prompts did not continue the tokens before them; None where it does
            not count them.
        text_only: set before `check` where it will be shown no image, as a judge of answers: then a
            model that takes none will do.
    """

    spec: str = ""
    needs_gold: bool = False
    kind: Literal["sampled", "demonstration", "text"] = "text"
    vision_token_ids: tuple[int, ...] = ()
    version: str = ""
    local_model: bool = False
    takes_adapters: bool = False
    drifts: int | None = None
    text_only: bool = False

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> "Policy":
        """Build it from what follows the colon.

        Raises:
            UserError: that names nothing; or, as here, the policy can only be built in code.
        """
        raise UserError(
            f"the policy {cls.__name__} can only be built in code and has no spec; fix: build it "
            "there, or give its class a from_spec"
        )

    @classmethod  # noqa: B027 - most policies have no weights that could be omitted
    def check_spec(cls, rest: str, adapter: str | None) -> None:
        """Refuse what `from_spec` would refuse, as far as that shows without a model's weights.

        Asked in this process of a policy with a `local_model` that is loaded only on Ray.

        Raises:
            UserError: the model or its adapter is missing, does not fit, ...
        """

    @classmethod  # noqa: B027 - most policies need no library of their own
    def require_library(cls) -> None:
        """Make sure that the library which it needs in this process is installed.

        Raises:
            UserError: it is not.
        """

    @classmethod  # noqa: B027 - a model of transformers takes whatever PEFT makes
    def check_lora(cls, rest: str, lora: Mapping[str, Any], parts: Collection[str]) -> None:
        """Refuse adapters that it cannot load while it runs, as far as their settings say.

        Args:
            rest: what follows the scheme of its spec. lora: keys of `peft.LoraConfig`.
            parts: of the model that are adapted: `language`, `vision`, `projector`.

        Raises:
            UserError: such a setting.
        """

    def describe(self) -> dict[str, object]:
        """What its spec refers to but does not contain, such as the contents of a file.

        A run records it beside its settings, so that no other policy resumes the run.
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

    def with_adapter(self, name: str, path: Path) -> "Policy":
        """The policy that plays by an adapter over the same model.

        Raises:
            UserError: the adapter does not fit, `name` is the name of another adapter, or, as here,
                the policy takes no adapters while it runs.
        """
        raise UserError(
            f"{self.spec or type(self).__name__} takes no adapters while it runs; fix: name a "
            "policy with a model: hf:, vllm:, or openai: with a vLLM server"
        )

    def drop_adapter(self, name: str) -> None:  # noqa: B027 - most policies hold no adapters
        """Forget an adapter by which nothing plays any more. Unknown names are ignored."""

    def at_most(self, requests: int) -> int:
        """A rollout says how many requests may be in flight at once, before it begins.

        Returns:
            How many episodes may be in flight then. A policy that lets further requests wait itself
            says more than `requests`: the next episodes are ready when a reply comes.
        """
        return requests

    def enter(self) -> None:  # noqa: B027 - most policies answer each request by itself
        """An episode begins: a policy that answers many at once may wait for its requests."""

    def leave(self) -> None:  # noqa: B027
        """An episode that entered is over, however it ended."""

    def pause(self) -> None:  # noqa: B027 - most policies hold no memory that others need
        """Lend out the memory that it holds; it is asked nothing until `resume`."""

    def resume(self) -> None:  # noqa: B027
        """Take back the memory that `pause` lent out; does nothing where it holds it."""

    def close(self) -> None:  # noqa: B027 - most policies hold nothing that needs closing
        """Give back what it holds."""


class _Forwarded:
    """An attribute of a `WrappedPolicy` that reads as its policy's, until it is set on the wrapper.

    On the class itself it reads as `Policy`'s default.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, wrapper: "WrappedPolicy | None", owner: type | None = None) -> object:
        return getattr(Policy if wrapper is None else wrapper.policy, self._name)


def _forwarded() -> Any:
    return _Forwarded()


class WrappedPolicy(Policy):
    """A policy around another one: what a subclass does not say itself, the inner policy says.

    Attributes:
        policy: the inner policy.

    Raises:
        UserError: the inner policy is a consultation, whose wrapper must be a `Team` itself.
    """

    spec: str = _forwarded()
    needs_gold: bool = _forwarded()
    kind: Literal["sampled", "demonstration", "text"] = _forwarded()
    vision_token_ids: tuple[int, ...] = _forwarded()
    version: str = _forwarded()
    local_model: bool = _forwarded()
    takes_adapters: bool = _forwarded()
    drifts: int | None = _forwarded()
    text_only: bool = _forwarded()

    def __init__(self, policy: Policy) -> None:
        # Of a `Team`, which builds on this module.
        if hasattr(policy, "consult") and not hasattr(self, "consult"):
            raise UserError(
                f"{policy.spec} is a consultation, of whose replies {type(self).__name__} can make "
                "nothing; fix: name a policy of one role"
            )
        self.policy = policy

    def around(self, policy: Policy) -> Self:
        """The same wrapper around another policy."""
        if policy is self.policy:
            return self
        other = copy.copy(self)
        other.policy = policy
        return other

    def describe(self) -> dict[str, object]:
        """See `Policy`."""
        return self.policy.describe()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """See `Policy`."""
        return await self.policy.act(conversation, sampling)

    async def check(self) -> None:
        """See `Policy`."""
        await self.policy.check()

    def require_training(self) -> None:
        """See `Policy`; a wrapper whose own replies carry no sampled tokens refuses as well."""
        self.policy.require_training()
        super().require_training()

    def for_case(self, case: Case) -> Policy:
        """The same wrapper around the player of one case."""
        return self.around(self.policy.for_case(case))

    def with_adapter(self, name: str, path: Path) -> Policy:
        """The same wrapper around the policy that plays by an adapter."""
        return self.around(self.policy.with_adapter(name, path))

    def drop_adapter(self, name: str) -> None:
        """See `Policy`."""
        self.policy.drop_adapter(name)

    def at_most(self, requests: int) -> int:
        """See `Policy`."""
        return self.policy.at_most(requests)

    def enter(self) -> None:
        """See `Policy`."""
        self.policy.enter()

    def leave(self) -> None:
        """See `Policy`."""
        self.policy.leave()

    def pause(self) -> None:
        """See `Policy`."""
        self.policy.pause()

    def resume(self) -> None:
        """See `Policy`."""
        self.policy.resume()

    def close(self) -> None:
        """See `Policy`."""
        self.policy.close()


def load_policy(spec: str, *, by_recipe: bool = False) -> Policy:
    """The policy that a spec names: `SCHEME:NAME`, or the scheme only where it needs no name.

    `NAME@ADAPTER` and `NAME?adapter=PATH` play by an adapter; `medgym.spec` says how that is read.
    Its `spec` is the given one without secrets, such as the password of a URL: runs record it.

    Args:
        spec: as the module `medgym.spec` says.
        by_recipe: whether a recipe names it, and not the user: `medgym.permissions` says what it
            may not do then.

    Raises:
        UserError: a spec without a scheme, an unknown scheme, or what the scheme itself refuses.
    """
    kind, rest, adapter = read_spec(spec)
    scheme = redact_text(spec).partition(":")[0]
    with calling(f"the policy {scheme!r}"):
        with permissions.by_recipe(by_recipe):
            made: object = kind.from_spec(rest, adapter)
        if not isinstance(made, Policy):
            raise ContractError(f"made a {type(made).__name__}; expected a medgym.Policy")
    policy = made
    policy.spec = redact_text(spec)
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
            f"cannot read the policy {shown(spec)!r}; fix: write SCHEME:NAME, where "
            f"SCHEME is one of {known}"
        )
    if adapter == "":
        raise UserError(f"{shown(spec)} names no adapter; fix: name one after the @, or omit it")
    kind: type[Policy] = load("policies", scheme)
    return kind, rest, adapter
