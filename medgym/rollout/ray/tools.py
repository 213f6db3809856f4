"""Tools with models on Ray: an actor for each, with resources and batches of its own.

Workers call it through a stand-in. What travels there are the arguments and the views; the original
pixels lie in the object store already, and their reference travels in their place.
"""

import asyncio
import copy
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from medgym.contracts import fault_of
from medgym.errors import ToolError
from medgym.failures import at
from medgym.imaging.study import Study
from medgym.rollout.ray.cluster import ray
from medgym.rollout.ray.wire import Home, Packed, Unpacked, sendable, unwrapped
from medgym.rollout.tool_batches import Batcher, StandIn
from medgym.tool import Tool, ToolResult
from medgym.workspace import Workspace

RETRIES = 3
"""Times that Ray makes a call again when the actor died under it; a tool changes nothing."""

_REFS: "WeakKeyDictionary[Study, ray.ObjectRef[list[Study]]]" = WeakKeyDictionary()


def remember(studies: Sequence[Study], ref: "ray.ObjectRef[list[Study]]") -> None:
    """Where these images lie in the object store, for as long as the first is held."""
    for first in studies[:1]:
        _REFS[first] = ref


def is_remote(tool: Tool) -> bool:
    """Whether a tool gets an actor."""
    return bool(tool.resources) or tool.batch_size > 1


class ToolActor:
    """The one place where a tool runs."""

    def __init__(self) -> None:
        self._unpacked = Unpacked("tool")
        self._batcher: Batcher | None = None

    async def ready(self, part: Packed) -> None:
        """Make the tool, if it is not made."""
        tool = await self._unpacked.made(part)
        if self._batcher is None:
            self._batcher = Batcher(tool)

    async def call(
        self,
        part: Packed,
        args: str,
        workspace: Workspace,
        studies: "Sequence[ray.ObjectRef[list[Study]]]",
    ) -> ToolResult | ToolError:
        """A call as JSON, in a workspace whose images are `studies`, where those are given."""
        await self.ready(part)
        assert self._batcher is not None
        try:
            if studies:
                workspace.studies = tuple(await studies[0])
            with at("tool", self._unpacked.thing.name):
                parsed = self._unpacked.thing.Args.model_validate_json(args)
            result = await asyncio.wrap_future(self._batcher.submit(parsed, workspace))
        except Exception as error:
            raise sendable(error, "tool") from error
        if isinstance(result, ToolError):  # its own class may not survive the way back
            return ToolError(str(result), fault_of(result))
        return result


class RemoteTool(StandIn):
    """What episodes call in place of a tool that has an actor.

    The worker tells it where the tool lives; it travels without.
    """

    home: Home

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        """Have it done; blocks until it is.

        Raises:
            Failure: the actor died under this call, again and again.
        """
        light = copy.copy(workspace)
        refs = [_REFS[first] for first in workspace.studies[:1] if first in _REFS]
        if refs:
            light.studies = ()
        try:
            call = self.home.actor.call.remote
            result = ray.get(call(self.home.part, args.model_dump_json(), light, refs))
        except Exception as error:
            raise unwrapped(error, "tool") from error
        if isinstance(result, ToolError):
            raise result
        returned: ToolResult = result  # the episode checks it
        return returned
