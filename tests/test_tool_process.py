"""Memory budgets: a call that needs more is an observation; a process that dies, a failure."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym import tool_process
from medgym.case import Case
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.gold_tool import Gold
from medgym.imaging.study import ImageRef, Study
from medgym.messages import render_call
from medgym.rollout.record import faults_of
from medgym.tool import Tool, ToolArgs, ToolResult, as_tool, load_tools
from medgym.tool_call import limited, used_together
from medgym.workspace import Workspace

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the limit")


class Eats(Tool):
    """Need so many megabytes, and do one thing more."""

    name = "eats"
    memory_mb = 300.0
    deadline_s = 60.0

    class Args(ToolArgs):
        """How many, and what."""

        mb: int = 1
        then: str = ""

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        held = np.ones(args.mb * 2**20, np.uint8)
        if args.then == "die":
            os._exit(3)
        if args.then == "hide":
            os.closerange(3, 1000)
            time.sleep(30)
        if args.then == "crash":
            raise ValueError("secret")
        if args.then == "sleep":
            time.sleep(30)
        view = workspace.overview(0, workspace.images[0].place, self.name)
        return ToolResult(f"{len(held) >> 20}", (view,), {"pid": os.getpid()})

    def with_gold(self, args: Any, workspace: Workspace, gold: Gold) -> ToolResult:
        return ToolResult(f"{gold.seed}")


def case() -> Case:
    return Case(
        id="a/train/0", images=(ImageRef(uri="a:0"),), question="Which?", answer="yes",
        group="g", source="a", split="train",
    )  # fmt: skip


def study() -> Study:
    return Study(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def eats() -> Eats:
    """One tool for all tests, so that they share its process."""
    return Eats()


@LINUX
def test_a_call_has_a_budget_of_memory(eats: Eats) -> None:
    episode = Rules(tools=(eats,), view_size=16).begin(case(), [study()])
    calls = [render_call("eats", {"mb": mb}) for mb in (200, 2000, 200)]
    assert episode.step("".join(calls)) is not None
    first, second, third = episode.turns[0].outcomes
    assert first.text == third.text.replace("View 2", "View 1")
    assert first.views[0].picture.tobytes() == episode.workspace.view(0).picture.tobytes()
    assert second.fault == "memory"
    assert second.text == (
        "Error: eats needed more than 300 MB of memory and was stopped; expected another call or "
        "an answer."
    )
    assert faults_of(episode.turns[0]) == ["memory:eats"]
    # The process is another one, and is kept.
    assert first.data["pid"] == third.data["pid"] != os.getpid()


@LINUX
def test_in_a_batch_only_the_call_that_needs_more_is_stopped(eats: Eats) -> None:
    workspace = Workspace([study()], view_size=16)
    results = used_together(eats, [(eats.parse({"mb": mb}), workspace) for mb in (1, 2000, 2)])
    assert [getattr(each, "text", "stopped") for each in results] == ["1", "stopped", "2"]


def test_gold_reaches_the_process(eats: Eats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eats, "needs_gold", True)
    (played,) = open_cases("phantom,question=kind,size=256:train[:1]")
    said = Rules(tools=(eats,), view_size=64).begin(played).step(render_call("eats", {}))
    assert said is not None
    assert said.text == f"{Gold.of(played).seed}"


def test_a_process_that_is_late_or_dies(eats: Eats, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = Rules(tools=(eats,), view_size=16, max_turns=9).begin(case(), [study()])
    with pytest.raises(Failure, match=r"eats raised ValueError at test_tool_process.py:\d+$"):
        episode.step(render_call("eats", {"then": "crash"}))
    with monkeypatch.context() as changed:
        changed.setattr(eats, "deadline_s", 0.2)
        episode.step(render_call("eats", {"then": "sleep"}))
    assert episode.turns[-1].outcomes[0].fault == "late"
    with pytest.raises(Failure, match="the process of its call ended with exit status 3") as error:
        episode.step(render_call("eats", {"then": "die"}))
    assert error.value.boundary == "tool"


@LINUX
def test_a_process_whose_parent_is_killed_ends_in_the_midst_of_a_call() -> None:
    code = (
        "import sys; from tests.test_tool_process import *; e = Eats(); r = Workspace([study()],"
        "view_size=16); print(limited(e, e.parse({}), r).data['pid'], flush=True);"
        "limited(e, e.parse({'then': 'sleep'}), r)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        time.sleep(0.3)  # until it is in the call
        parent.kill()
    for _ in range(100):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.1)
    os.kill(process, 9)
    pytest.fail("it is still there")


def test_a_process_that_closes_its_connection_and_goes_on_is_ended(
    eats: Eats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_process, "END", 0.1)
    with pytest.raises(Failure, match="the process of its call ended with signal 9"):
        limited(eats, eats.parse({"then": "hide"}), Workspace([study()], view_size=16))


def test_a_tool_that_cannot_travel_is_refused() -> None:
    @as_tool
    def here() -> str:
        """Say where."""
        return "here"

    here.memory_mb = 100.0
    episode = Rules(tools=(here,), view_size=16).begin(case(), [study()])
    with pytest.raises(UserError, match="fix: write it as a class in a module"):
        episode.step(render_call("here", {}))
    here.memory_mb = -1.0
    with pytest.raises(UserError, match=r"the tool here has memory_mb = -1.0; fix"):
        load_tools([here])
