"""What actors on Ray are made from, and made from again after they died.

An actor is created without what it is made from: whoever calls it finds it unbuilt (its answer is
`None`), has it built, and calls again. So a restarted actor needs nobody who notices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import cloudpickle

from medgym.errors import RunError, UserError
from medgym.failures import reason_of

RETRIES = 3
"""Times that Ray itself makes a call again when the actor died under it, where calls may repeat."""


@dataclass(frozen=True)
class Home:
    """Where something lives: its actor, and the reference of what that is made from.

    Whoever made it holds it as long as the actor is to live; for all others references count.
    """

    actor: Any
    part: Any

    async def build(self) -> None:
        """Have the actor built, if it is not."""
        await self.actor.build.remote([self.part])


def packed(thing: Any, what: str) -> bytes:
    """A thing as it travels; `UserError` where it cannot."""
    try:
        return bytes(cloudpickle.dumps(thing))
    except Exception as error:  # pickling raises what the thing's own code raises
        raise UserError(
            f"{what} cannot be sent to another process ({str(error)[:120]}); mend: keep out of it "
            "what cannot be pickled, or use the back end local"
        ) from error


def unpacked(data: bytes, what: str) -> Any:
    """The thing, in another process; `UserError` where that cannot make it."""
    try:
        return cloudpickle.loads(data)
    except (UserError, RunError):
        raise
    except Exception as error:
        raise UserError(
            f"{what} cannot be made in a worker ({reason_of(error)}); mend: install on every node "
            "what is installed here"
        ) from error


def actor_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Resources as Ray takes them: CPUs, GPUs and memory by name, all others as custom ones."""
    known = {k: v for k, v in resources.items() if k in ("num_cpus", "num_gpus", "memory")}
    others = {k: v for k, v in resources.items() if k not in known}
    return {"num_cpus": 0 if resources else 1, **known, "resources": others}
