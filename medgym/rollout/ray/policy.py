"""A policy whose model must be in memory only once, on Ray: one actor holds it, all workers ask it.

So requests of all workers' episodes meet in one place and are joined into batches there. Only the
new messages of a conversation are sent: the actor keeps those that it was sent before. If it lost
them (it was restarted), it is sent everything.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, ClassVar

from medgym.contracts import checked_reply
from medgym.errors import UserError
from medgym.failures import at
from medgym.messages import Message, Reply, shortened
from medgym.permissions import allow_hosts, allowed_hosts
from medgym.policy import Policy, Sampling, load_policy, read_spec
from medgym.rollout.ray.wire import Home, Packed, Unpacked, packed, sendable, unwrapped

FACTS = ("kind", "vision_token_ids", "version")
"""What trajectories record of a policy beside its spec."""

RETRIES = 3
"""Times that Ray asks again when the actor died during a request. The request's seed fixes its
reply, so that it may be asked any number of times."""


def packed_policy(policy: Policy) -> Packed:
    """A policy as it is sent: itself where it can be pickled, else its spec.

    Raises:
        UserError: it has connections or the like of its own and no spec to make it from.
    """
    try:
        return packed(policy, f"the policy {type(policy).__name__}")
    except UserError:
        if not policy.spec:
            raise
        return packed(NamedPolicy(policy.spec, exact=policy.kind == "sampled"), policy.spec)


class NamedPolicy(Policy):
    """A policy that is loaded where it plays, and not here: its model may only fit there.

    Args:
        spec: names it. exact: whether its replies must be fit for training.
    """

    local_model: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(self, spec: str, exact: bool = False) -> None:
        self.spec = spec
        self._exact = exact

    def __reduce__(
        self,
    ) -> tuple[Callable[[str, bool, frozenset[str]], Policy], tuple[str, bool, frozenset[str]]]:
        return _loaded, (self.spec, self._exact, allowed_hosts())

    async def check(self) -> None:
        """Refuse what shows without the model's weights, which only Ray loads."""
        kind, rest, adapter = read_spec(self.spec)
        kind.check_spec(rest, adapter)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Refuse: it plays only on Ray."""
        raise UserError(f"{self.spec} plays only on Ray; fix: backend='ray', or load it")


def _loaded(spec: str, exact: bool, hosts: frozenset[str]) -> Policy:
    allow_hosts(hosts)
    policy = load_policy(spec)
    if exact:
        policy.require_training()
    return policy


def named(spec: str) -> Policy:
    """The policy of a spec, for the back end ray: one with a model is not loaded in this process.

    Raises:
        UserError: as in `load_policy`.
    """
    if read_spec(spec)[0].local_model is True:  # of a team it is a property
        return NamedPolicy(spec)
    return load_policy(spec)


@dataclass
class _Held:
    """An episode as the model's actor knows it: where it entered, and the messages sent so far."""

    context: Context
    messages: tuple[Message, ...] = ()


class PolicyActor:
    """Holds the one policy.

    The driver reports which episodes begin and end, by the number of their lease; it knows each of
    them, even when a worker died. An episode that is not known (the actor was restarted) is
    answered as well, but batches do not wait for it.

    Args:
        environment: the driver's variables that must be set here too.
    """

    def __init__(self, environment: Mapping[str, str | None]) -> None:
        # Ray gives an actor the threads of its CPUs; a model gets as many as without Ray.
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self._unpacked = Unpacked("policy")
        self._held: dict[int, _Held] = {}

    async def ready(self, part: Packed) -> dict[str, Any]:
        """What trajectories record of the policy, once it is made."""
        policy = await self._unpacked.made(part)
        return {name: getattr(policy, name) for name in FACTS}

    async def enter(self, lease: int) -> None:
        """An episode begins."""
        if self._unpacked.thing is not None:
            self._held[lease] = _Held(copy_context())
            with at("policy"):
                self._held[lease].context.run(self._unpacked.thing.enter)

    async def leave(self, lease: int) -> None:
        """An episode is over, or its worker is."""
        held = self._held.pop(lease, None)
        if held is not None:
            with at("policy"):
                held.context.run(self._unpacked.thing.leave)

    async def act(
        self, part: Packed, lease: int, sent: int, new: Sequence[Message], sampling: Sampling
    ) -> Reply | None:
        """The next reply of a conversation of `sent` messages that were sent before and `new` ones;
        None where those before are lost."""
        policy = await self._unpacked.made(part)
        held = self._held.get(lease) or _Held(copy_context())
        if len(held.messages) < sent:
            return None
        held.messages = (*held.messages[:sent], *new)
        try:
            acting = _acting(policy, held.messages, sampling)
            return await asyncio.get_running_loop().create_task(acting, context=held.context)
        except Exception as error:
            raise sendable(error, "policy") from error

    async def close(self) -> None:
        """End what the policy started."""
        if self._unpacked.thing is not None:
            self._unpacked.thing.close()


async def _acting(policy: Policy, messages: Sequence[Message], sampling: Sampling) -> Reply:
    """A reply; typed inside the task, for a task that ends by `SystemExit` ends the process."""
    with at("policy", type(policy).__name__):
        return shortened(checked_reply(await policy.act(messages, sampling)))


class RemotePolicy(Policy):
    """The policy of one episode: it sends its requests to the actor.

    Args:
        home: the actor. spec, facts: of the policy there. lease: the episode's number.
    """

    def __init__(self, home: Home, spec: str, facts: Mapping[str, Any], lease: int) -> None:
        vars(self).update(facts)
        self.spec = spec
        self._home = home
        self._lease = lease
        self._sent = 0

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Ask the actor.

        Raises:
            Failure: the actor died during this request, several times.
        """
        ask = self._home.actor.act.options(max_task_retries=RETRIES).remote
        part, lease, sent = self._home.part, self._lease, self._sent
        try:
            reply = await ask(part, lease, sent, conversation[sent:], sampling)
            if reply is None:
                reply = await ask(part, lease, 0, conversation, sampling)
        except Exception as error:
            raise unwrapped(error, "policy") from error
        self._sent = len(conversation)
        return checked_reply(reply)
