"""One episode as a coroutine: what takes time is done in threads, off the event loop."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.imaging import lazy_image
from medgym.imaging.study import Study, open_image
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import roll_out
from medgym.tool import load_tools

RULES = Rules(tools=load_tools(["zoom"]), view_size=64)


class Looker(Policy):
    """Looks once and answers."""

    spec = "looker"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        if conversation[-1].role == "tool":
            return Reply(render_answer("A"))
        return Reply(render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}))


def test_views_are_drawn_and_hashed_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_by, hashed_by = [], []
    render, image_hash = Study.render, lazy_image.image_hash

    def drawing(*args: object) -> object:
        drawn_by.append(threading.current_thread())
        return render(*args)  # type: ignore[arg-type]

    def hashing(image: object) -> str:
        hashed_by.append(threading.current_thread())
        return image_hash(image)  # type: ignore[arg-type]

    monkeypatch.setattr(Study, "render", drawing)
    monkeypatch.setattr(lazy_image, "image_hash", hashing)
    case = open_cases("phantom:train")[0]
    studies = [open_image(ref) for ref in case.images]
    trajectory = asyncio.run(roll_out(case, Looker(), RULES, studies=studies))
    shown = [image.sha256 for node in trajectory.nodes for image in node.images]
    assert len(shown) == len(set(shown)) == len(drawn_by) == len(hashed_by) == 2
    assert threading.main_thread() not in (*drawn_by, *hashed_by)
