"""Tools with models on Ray: an actor for each, with resources and batches of its own.

Workers call it through a stand-in. What travels there are the arguments and the views; the original
pixels lie in the object store already, and their reference travels in their place.
"""

import asyncio
import copy
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from medgym.contracts import fault_of
from medgym.deadline import late
from medgym.errors import ToolError
from medgym.failures import at
from medgym.imaging.opened import OpenedImage, Sent
from medgym.imaging.study import Study
from medgym.rollout.ray.cluster import ray
from medgym.rollout.ray.wire import Home, Packed, Unpacked, sendable, unwrapped
from medgym.rollout.tool_batches import Batcher, StandIn
from medgym.tool import Tool, ToolResult
from medgym.workspace import Workspace

SLACK = 120.0
"""Seconds in which an actor that is not stuck answers, even one that imports large libraries."""

GONE = 30.0
"""Seconds that Ray gets to end an actor that is stuck."""

PULSE = 1.0
"""Seconds between two questions to an actor that is being started again."""

RETRIES = 3
"""Times that Ray makes a call again when the actor died under it; a tool changes nothing."""

_REFS: "WeakKeyDictionary[Study, ray.ObjectRef[list[OpenedImage]]]" = WeakKeyDictionary()


def remember(opened: Sequence[OpenedImage], ref: "ray.ObjectRef[list[OpenedImage]]") -> None:
    """Where these images lie in the object store, for as long as the first is held."""
    for first in opened[:1]:
        _REFS[first.start] = ref


def is_remote(tool: Tool) -> bool:
    """Whether a tool gets an actor."""
    return bool(tool.resources) or tool.batch_size > 1


class ToolActor:
    """The one place where a tool runs."""

    def __init__(self) -> None:
        self._unpacked = Unpacked("tool")
        self._batcher: Batcher | None = None

    async def answer(self) -> None:
        """Show that this process is not stuck."""

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
        studies: "Sequence[ray.ObjectRef[list[OpenedImage]]]",
    ) -> ToolResult | ToolError:
        """A call as JSON, in a workspace whose images are `studies`, where those are given."""
        await self.ready(part)
        assert self._batcher is not None
        try:
            if studies:
                workspace.images = tuple(await studies[0])
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

    The worker tells it where the tool lives; it travels without. The actor sees to the tool's
    deadline. If it cannot, because the tool stops its whole process, the actor is started again.
    """

    home: Home

    def __init__(self, tool: Tool) -> None:
        super().__init__(tool)
        self._deadline = tool.deadline_s
        self._slack = SLACK

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        """Have it done; blocks until it is.

        Raises:
            ToolError: the tool's own, or the call is late.
            Failure: the actor died under this call, again and again.
        """
        light = copy.copy(workspace)
        refs = [_REFS[first.start] for first in workspace.images[:1] if first.start in _REFS]
        # What is sent arrives as the opened images themselves.
        sent: Any = () if refs else tuple(map(Sent, workspace.images))
        light.images = sent
        try:
            call = self.home.actor.call.remote
            result = self._got(call(self.home.part, args.model_dump_json(), light, refs))
        except Exception as error:
            raise unwrapped(error, "tool") from error
        try:
            if isinstance(result, ToolError):
                raise result
            return result  # the episode checks it
        finally:
            del result  # an error that held itself would hold the episode's images

    def _got(self, ref: "ray.ObjectRef[ToolResult | ToolError]") -> ToolResult | ToolError:
        """What a call yields. It may wait for many others, as long as the actor answers."""
        if self._deadline is None:
            return ray.get(ref)
        actor = self.home.actor
        answer = actor.answer.options(max_task_retries=0).remote
        while True:
            try:
                return ray.get(ref, timeout=self._deadline + self._slack)
            except ray.exceptions.GetTimeoutError:
                pass
            try:
                ray.get(answer(), timeout=self._slack)
            except ray.exceptions.RayActorError:  # it is being started again, for another call
                time.sleep(PULSE)
            except ray.exceptions.GetTimeoutError:
                ray.cancel(ref)  # or it would be made again
                ray.kill(actor, no_restart=False)
                with suppress(ray.exceptions.RayError):  # Ray takes a while; no other call is late
                    ray.get(answer(), timeout=GONE)
                return late(self.name, self._deadline)
