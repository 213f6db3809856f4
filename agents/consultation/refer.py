"""`refer`: the attending's tool in a dynamic consultation; it asks one more specialist.

Each consultation has its own tool: what it asks for becomes a part of that consultation's
trajectory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from pydantic import Field, create_model

from medgym.consultation.opinions import Opinion
from medgym.errors import ToolError
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace

Ask = Callable[[str, int], Awaitable[Opinion]]
"""Asks a specialist, in a round; rounds count from 1."""


class ReferArgs(ToolArgs):
    """What a call names; a consultation's own tool takes only its specialties."""

    specialty: str


class Refer(Tool):
    """Ask one more specialist for an opinion on the case.

    Its schema, which the attending reads, names the specialties that there are.
    """

    name = "refer"
    deadline_s = None  # the specialist's tools have deadlines of their own

    def __init__(
        self, ask: Ask, specialties: Sequence[str], most: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._ask, self._most, self._loop = ask, most, loop
        self._asked = 0
        literal: Any = Literal
        whom = (literal[tuple(specialties)], Field(description="whom to ask"))
        self.Args = create_model("Args", __base__=ReferArgs, specialty=whom)  # type: ignore[misc]

    @property
    def description(self) -> str:
        """What it is for, and how often."""
        return f"{super().description} At most {self._most} times."

    def __call__(self, args: ReferArgs, workspace: Workspace) -> ToolResult:
        """The opinion as a line of text, and where that specialist looked last.

        It is called in a thread, off the consultation's loop.
        """
        if self._asked >= self._most:
            raise ToolError("there are no referrals left; decide")
        self._asked += 1
        asking = asyncio.run_coroutine_threadsafe(
            _awaited(self._ask(args.specialty, self._asked)), self._loop
        )
        opinion = asking.result()
        seen = opinion.view
        shown = seen and workspace.look(
            seen.image,
            seen.box_px,
            enlarge=True,
            made_by=self.name,
            plane=seen.plane,
            index=seen.index,
            slab=seen.slab,
            window=seen.window,
        )
        views = (shown,) if shown else ()
        return ToolResult(text=opinion.line(), views=views, data={"round": self._asked})


async def _awaited(asking: Awaitable[Opinion]) -> Opinion:
    return await asking
