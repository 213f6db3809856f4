"""Views of studies whose files turn out to be unreadable only when the views are drawn."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import ImageRef
from medgym.messages import ImagePart, Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import roll_out, view_hashing
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


class Patient(Policy):
    """Waits, and hashes what it sees first, or leaves that to others."""

    spec = "patient"

    def __init__(self, *, hashes: bool, waits: bool) -> None:
        self.hashes, self.waits = hashes, waits
        self.made: list[bool] = []

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        (part,) = conversation[-1].images
        if self.hashes:
            assert part.sha256
        end = time.monotonic() + 60
        while self.waits and not part.picture.is_hashed and time.monotonic() < end:
            await asyncio.sleep(0.01)
        self.made.append(part.picture.is_hashed)
        return Reply(render_answer("A"))


@pytest.mark.parametrize(
    ("policy", "beside", "jobs"),
    [
        (Patient(hashes=True, waits=False), True, 0),
        (Patient(hashes=False, waits=True), True, 1),
        (Patient(hashes=False, waits=False), False, 1),
    ],
)
def test_a_view_is_hashed_once_and_beside_a_policy_that_takes_its_time(
    policy: Patient, beside: bool, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[ImagePart] = []
    make = view_hashing._hash

    def noted(part: ImagePart) -> None:
        hashed.append(part)
        make(part)

    monkeypatch.setattr(view_hashing, "_hash", noted)
    case = open_cases("phantom:train[:1]")[0]
    played = asyncio.run(roll_out(case, policy, Rules.for_cases([case], view_size=64)))
    assert all(use.sha256 for node in played.nodes for use in node.images)
    assert (policy.made, len(hashed)) == ([beside], jobs)
