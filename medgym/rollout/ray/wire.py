"""What crosses from one of Ray's processes to another: things packed once, errors as themselves.

Ray wraps what a remote call raises, and loses what does not survive pickling. What Ray's own
machinery raises (a process that died, an object that is lost) becomes a `Failure`.
"""

import asyncio
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medgym.errors import RunError, UserError
from medgym.failures import Boundary, Failure, PlugInCall, raised, reason_of
from medgym.rollout.ray.cluster import ray  # which says what to install

Packed = list[ray.ObjectRef[bytes]]
"""Where a packed thing lies. In a list, for Ray would fetch a bare reference at the wrong time."""


def packed(thing: Any, what: str) -> Packed:
    """A thing as it travels; `UserError` where it cannot."""

    def unsent(error: BaseException) -> UserError:
        return UserError(
            f"{what} cannot be sent to another process ({str(error)[:120]}); fix: keep out of it "
            "what cannot be pickled, or use the back end local"
        )

    with PlugInCall(unsent):  # pickling raises what the thing's own code raises
        return [ray.put(ray.cloudpickle.dumps(thing))]


@dataclass(frozen=True)
class Home:
    """Where a thing lives that has an actor of its own: the actor, and what it is made from."""

    actor: Any
    part: Packed


class Unpacked:
    """A thing in an actor, made at the first call, and once more after the actor died.

    Every call brings along what the thing is made from, so a restarted actor goes unnoticed. (Ray
    would keep it as an argument of the actor's constructor, but warns on stderr of arguments that
    lie in the object store.)
    """

    def __init__(self, boundary: Boundary = "worker") -> None:
        self._boundary = boundary
        self._making = asyncio.Lock()
        self.thing: Any = None

    async def made(self, part: Packed) -> Any:
        """The thing; `UserError` where it cannot be made here."""
        async with self._making:
            if self.thing is None:
                try:
                    data = await part[0]
                    with PlugInCall(_unmade):  # what is unpickled runs code of its own
                        self.thing = ray.cloudpickle.loads(data)
                except (ray.exceptions.RayError, UserError, RunError) as error:
                    raise sendable(error, self._boundary) from error
        return self.thing


def _unmade(error: BaseException) -> UserError:
    return UserError(
        f"a policy or a tool cannot be made in a worker ({reason_of(error)}); fix: install on "
        "every node what is installed here"
    )


def unwrapped(error: Exception, boundary: Boundary = "worker") -> Exception:
    """What a remote call raised, or the failure at `boundary` that an error of Ray's amounts to."""
    while isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    if isinstance(error, ray.exceptions.RayError):
        return Failure(boundary, reason_of(error))
    return error


def sendable(error: Exception, boundary: Boundary = "worker") -> Exception:
    """An exception that arrives as itself; one that pickling would lose becomes its own kind.

    What is no failure yet, and nothing that the user has to fix, is one at `boundary`.
    """
    error = unwrapped(error, boundary)
    if not isinstance(error, Failure | UserError | RunError):
        return Failure(boundary, raised(error))
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:  # constructors and their arguments raise what they like
        pass
    if isinstance(error, Failure):
        return Failure(error.boundary, error.reason, error.final, error.withheld)
    return (UserError if isinstance(error, UserError) else RunError)(str(error))


def actor_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Resources as Ray takes them: CPUs, GPUs and memory by name, all others as custom ones."""
    known = {k: v for k, v in resources.items() if k in ("num_cpus", "num_gpus", "memory")}
    others = {k: v for k, v in resources.items() if k not in known}
    return {"num_cpus": 0 if resources else 1, **known, "resources": others}
