"""Views of studies whose files turn out to be unreadable only when the views are drawn."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import roll_out
from medgym.testing import PlainVolume

VALUES = np.zeros((5, 6, 7), np.float32)


class Spoilt(PlainVolume):
    """A volume whose last slice cannot be read."""

    def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Any:
        if (plane, index) == ("axial", 4):
            raise UserError("the last slice is cut off; fix: copy it again")
        return super().decode(plane, index, region)


class Scroller(Policy):
    """Looks at a slice, at a slab around it that holds the last one, and answers."""

    spec = "scroller"

    def __init__(self) -> None:
        self.asked = 0

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.asked += 1
        for message in conversation:
            for part in message.images:
                part.image.load()
        slab = {1: 1, 2: 3}.get(self.asked)
        if slab is None:
            return Reply(render_answer("x"))
        return Reply(render_call("slice", {"view": 0, "plane": "axial", "index": 3, "slab": slab}))


def test_a_view_that_cannot_be_drawn_is_shown_to_no_policy() -> None:
    volume, policy = Spoilt(VALUES), Scroller()
    start = OpenedImage(volume, ImagePlace("coronal", 2), volume.image("coronal", 2))
    case = Case(
        id="a",
        group="a",
        images=(ImageRef(uri="drawn:a"),),
        question="What?",
        answer="x",
        source="drawn",
        split="all",
    )
    rules = Rules.for_cases([case], tools=["slice"], view_size=64)
    with pytest.raises(UserError, match="the last slice is cut off"):
        asyncio.run(roll_out(case, policy, rules, studies=[start]))
    assert policy.asked == 2
