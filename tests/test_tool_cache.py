"""The result cache: the same call on the same image is done once, and yields the same bits."""

import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

import medgym.tool_call
from medgym import tool_cache
from medgym.case import Case
from medgym.errors import ToolError
from medgym.gold_tool import Gold
from medgym.imaging.study import ImageRef, Study
from medgym.rollout.tool_batches import Batched
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.tool_cache import ToolCache
from medgym.tool_call import used
from medgym.workspace import Workspace


class Look(Tool):
    """Show a box."""

    name = "look"
    caches = True

    class Args(ToolArgs):
        """Which box of which view."""

        view: ViewNumber
        box: BoxArgument

    def __init__(self) -> None:
        self.calls = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        self.calls += 1
        assert self.go.wait(10)
        view = workspace.view(args.view)
        box_px = workspace.box_px(args.view, args.box)
        shown = workspace.look(view.image, box_px, enlarge=True, made_by=self.name)
        return ToolResult("seen", (shown,), {"box_px": list(box_px)})


class Unwritable:
    def __repr__(self) -> str:
        raise ValueError("no words")


class Told(Look):
    """Show a box with gold."""

    name = "told"
    needs_gold = True

    def with_gold(self, args: Any, workspace: Workspace, gold: Gold) -> ToolResult:
        self.calls += 1
        return ToolResult(str(gold.seed))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> ToolCache:
    made = ToolCache()
    monkeypatch.setattr(medgym.tool_call, "CACHE", made)
    return made


def case(answer: str = "yes") -> Case:
    return Case(
        id="a/train/0", images=(ImageRef(uri="a:0"),), question="Which?", answer=answer,
        group="g", source="a", split="train",
    )  # fmt: skip


def study(seed: int = 0) -> Study:
    return Study(np.random.default_rng(seed).integers(0, 256, (30, 40, 3)).astype(np.uint8))


def look(tool: Tool, workspace: Workspace, box: Any = (0, 0, 500, 500), **more: Any) -> ToolResult:
    args = tool.parse({"view": 0, "box": list(box), **more})
    return used(tool, args, workspace, case())


def bits(result: ToolResult) -> Any:
    views = [(v.image, v.box_px, v.place, v.picture.tobytes()) for v in result.views]
    return result.text, views, dict(result.data)


def test_a_group_shares_what_one_of_it_asked_for(cache: ToolCache) -> None:
    tool, image = Look(), study()
    first, second = (look(tool, Workspace([image], view_size=16)) for _ in range(2))
    assert tool.calls == 1
    assert (cache.hits, cache.misses) == (1, 1)
    plain = tool(tool.parse({"view": 0, "box": [0, 0, 500, 500]}), Workspace([image], view_size=16))
    assert bits(first) == bits(second) == bits(plain)
    first.data["box_px"].append(1)
    assert bits(look(tool, Workspace([image], view_size=16))) == bits(plain)


def test_what_a_result_depends_on_makes_another_call(cache: ToolCache) -> None:
    tool, image = Look(), study()
    look(tool, Workspace([image], view_size=16))
    look(tool, Workspace([image], view_size=16), (0, 0, 500, 501))
    look(tool, Workspace([image], view_size=17))
    look(tool, Workspace([image], view_size=16, coordinates="pixel"), (0, 0, 5, 5))
    look(tool, Workspace([study(1)], view_size=16))
    look(tool, Workspace([image], view_size=16, names=["a"]))
    look(Look(), Workspace([image], view_size=16))
    drawn = Workspace([image], view_size=16)
    other = drawn.overlay(drawn.view(0), drawn.view(0).picture.rotate(180), "x")
    drawn.add(other)
    look(tool, drawn, view=1)
    assert cache.hits == 0
    assert cache.misses == 8
    with pytest.raises(ToolError, match="no view 9"):
        look(tool, drawn, view=9)


def test_gold_is_kept_by_the_case(cache: ToolCache) -> None:
    tool, workspace = Told(), Workspace([study()], view_size=16)
    args = tool.parse({"view": 0, "box": [0, 0, 1, 1]})
    said = [used(tool, args, workspace, case(answer)).text for answer in ("yes", "yes", "no")]
    assert said[0] == said[1] != said[2]
    assert tool.calls == 2


def test_a_call_that_is_being_done_is_waited_for(cache: ToolCache) -> None:
    tool, image, found = Look(), study(), []
    tool.go.clear()
    threads = [
        threading.Thread(
            target=lambda: found.append(bits(look(tool, Workspace([image], view_size=16))))
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    tool.go.set()
    for thread in threads:
        thread.join()
    assert tool.calls == 1
    assert len(found) == 6
    assert all(each == found[0] for each in found)


def test_what_fails_is_not_kept(cache: ToolCache) -> None:
    tool, workspace = Look(), Workspace([study()], view_size=16)
    for _ in range(2):
        with pytest.raises(ToolError, match="does not lie in view 0"):
            look(tool, workspace, (5, 5, 1, 1))
    assert tool.calls == 2
    assert cache.bytes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_names_images_although_a_lock_was_held() -> None:
    with tool_cache._NAMING:
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            tool_cache._token(study())
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_those_who_waited_for_a_call_that_failed_do_it_at_once(cache: ToolCache) -> None:
    begun, together = threading.Event(), threading.Barrier(2, timeout=10)

    def failing() -> ToolResult:
        begun.set()
        while len(waiting) < 2 or not all(each.is_alive() for each in waiting):
            time.sleep(0.01)
        time.sleep(0.1)  # until both wait
        raise ToolError("late", "late")

    def meeting() -> ToolResult:
        together.wait()
        return ToolResult("met")

    def first() -> None:
        with pytest.raises(ToolError):
            cache.result("key", failing)

    met: list[str] = []
    waiting: list[threading.Thread] = []
    running = threading.Thread(target=first)
    running.start()
    assert begun.wait(10)
    for _ in range(2):
        thread = threading.Thread(target=lambda: met.append(cache.result("key", meeting).text))
        thread.start()
        waiting.append(thread)
    for thread in (running, *waiting):
        thread.join(20)
    assert met == ["met", "met"]


def test_data_that_cannot_be_written_holds_up_nobody(cache: ToolCache) -> None:
    def failing() -> ToolResult:
        return ToolResult("x", data={"odd": Unwritable()})

    for _ in range(2):  # the second one would wait for the first for ever
        with pytest.raises(ValueError, match="no words"):
            cache.result("key", failing)


def test_it_holds_no_more_than_it_may(cache: ToolCache) -> None:
    tool, workspace = Look(), Workspace([study()], view_size=16)
    cache.most = 4000
    for side in range(1, 30):
        look(tool, workspace, (0, 0, 10 * side, 900))
        assert cache.bytes <= 4000
    look(tool, workspace, (0, 0, 290, 900))
    assert cache.hits == 1
    look(tool, workspace, (0, 0, 10, 900))
    assert cache.hits == 1
    cache.most = 10
    look(tool, workspace, (0, 0, 11, 900))
    assert cache.bytes <= 10


def test_a_tool_that_runs_elsewhere_is_cached_here(cache: ToolCache) -> None:
    tool = Look()
    stand_in = Batched(tool)
    workspace = Workspace([study()], view_size=16)
    assert bits(look(stand_in, workspace)) == bits(look(stand_in, workspace))
    stand_in.close()
    assert tool.calls == 1


def test_a_tool_that_does_not_ask_for_it_is_not_cached(cache: ToolCache) -> None:
    tool, workspace = Look(), Workspace([study()], view_size=16)
    tool.caches = False
    look(tool, workspace)
    look(tool, workspace)
    assert (tool.calls, cache.misses) == (2, 0)
