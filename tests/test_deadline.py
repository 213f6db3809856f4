"""A late call is an observation: the episode goes on, and nothing waits for what still runs."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

import medgym
from medgym import deadline
from medgym.cases import open_cases
from medgym.deadline import within
from medgym.episode import Rules
from medgym.errors import RunError, ToolError, UserError
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.metrics.looking import errors, metrics
from medgym.policy import Policy, Sampling
from medgym.rollout import collect, roll_out
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.workspace import Workspace

CASE = open_cases("phantom:train")[0]
LATE = "Error: nap took longer than 0.05 s and was stopped; expected another call or an answer."


class Nap(Tool):
    """Sleeps until it is woken."""

    name = "nap"
    deadline_s = 0.05

    class Args(ToolArgs):
        quick: bool = False

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.called_in: list[threading.Thread] = []

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        self.called_in.append(threading.current_thread())
        if not args.quick:
            self.woken.wait()
        return ToolResult("slept")


class Naps(Nap):
    """Sleeps until it is woken, for several episodes at once."""

    batch_size = 2

    def run_many(self, calls: Sequence[tuple[Any, Workspace]]) -> Sequence[ToolResult | ToolError]:
        return [self(args, workspace) for args, workspace in calls]


@pytest.fixture
def nap() -> Iterator[Nap]:
    tool = Nap()
    yield tool
    wake(tool)


def wake(tool: Nap) -> None:
    tool.woken.set()
    end = time.monotonic() + 60
    while deadline._CALLS.late[tool.name] and time.monotonic() < end:
        time.sleep(0.01)
    assert not deadline._CALLS.late[tool.name]  # what comes back late is late no longer


def plain() -> str:
    """A tool that says nothing of a deadline."""
    return ""


def call(tool: Tool, do: Callable[..., Any] | None = None) -> Any:
    return within(tool, do or tool, Nap.Args(), None)


class Napping(Policy):
    """Sleeps, takes a quick nap once all its episodes have slept, and answers.

    A quick nap has all the time that a busy machine may need for it.
    """

    spec = "napping"

    def __init__(self, tool: Tool, episodes: int = 1) -> None:
        self.tool, self.asleep = tool, episodes

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turns = sum(message.role == "assistant" for message in conversation)
        if turns == 2:
            return Reply(render_answer("A"))
        if turns == 1:
            self.asleep -= 1
            while self.asleep > 0:
                await asyncio.sleep(0.01)
            self.tool.deadline_s = 60.0
        return Reply(render_call("nap", {"quick": turns == 1}))


def test_a_late_call_is_an_observation_and_the_episode_goes_on(nap: Nap) -> None:
    env = medgym.MedEnv([CASE], tools=[nap], view_size=64)
    env.reset(options={"case": 0})
    told = env.step(render_call("nap", {}))[0]
    assert told["text"] == LATE
    nap.deadline_s = 60.0
    assert env.step(render_call("nap", {"quick": True}))[0]["text"] == "slept"
    assert env.step(render_answer("A"))[2]
    first, second, _ = (turn.outcomes for turn in env.episode.turns)  # type: ignore[union-attr]
    assert [(o.fault, o.failed, o.text) for o in first] == [("late", True, LATE)]
    assert [(o.fault, o.failed) for o in second] == [(None, False)]
    assert all(thread.daemon for thread in nap.called_in)


@pytest.mark.parametrize("kind", [Nap, Naps])
def test_a_rollout_records_late_calls_and_they_are_no_error_of_the_policy(kind: type[Nap]) -> None:
    tool = kind()
    rules = Rules(tools=(tool,), view_size=64)
    cases = [CASE, CASE.model_copy(update={"id": "other"})]
    played = list(collect(cases, Napping(tool, 2), rules))
    wake(tool)
    for trajectory in played:
        assert (trajectory.faults, trajectory.failed_calls) == (("late:nap",), 1)
        assert (trajectory.calls, trajectory.failure) == (("nap", "nap"), None)
        assert trajectory.nodes[2].text == LATE
        assert not errors(CASE, trajectory) & {"E1", "E2", "E3", "E4"}
    assert metrics([(CASE, played[0])])["episode/late"] == 1.0
    on_time = asyncio.run(roll_out(CASE, Napping(tool), rules))
    assert on_time.faults == ()
    assert "episode/late" not in metrics([(CASE, on_time)])


def test_too_many_calls_that_hang_end_the_run(monkeypatch: pytest.MonkeyPatch, nap: Nap) -> None:
    monkeypatch.setattr(deadline, "MOST_LATE", 1)
    with pytest.raises(ToolError):
        call(nap)
    with pytest.raises(RunError, match=r"2 calls of the tool nap are still running after their"):
        call(nap)


def test_what_a_call_raises_is_raised_and_is_not_late(nap: Nap) -> None:
    nap.deadline_s = 60.0
    for error in (TimeoutError("a server"), ToolError("no"), ValueError("odd"), SystemExit(3)):

        def fail(*_: Any, error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            call(nap, fail)
        assert raised.value is error


def test_a_call_knows_the_context_of_its_caller(nap: Nap) -> None:
    nap.deadline_s = 60.0
    known: ContextVar[str] = ContextVar("known")
    known.set("here")
    assert call(nap, lambda *_: known.get()) == "here"


def test_a_tool_without_a_deadline_is_called_directly(nap: Nap) -> None:
    nap.deadline_s = None
    assert call(nap, lambda *_: threading.current_thread()) is threading.current_thread()
    assert load_tools(["zoom"])[0].deadline_s is None
    assert medgym.as_tool(plain).deadline_s == 60.0


@pytest.mark.parametrize("seconds", [0, -1.0, float("inf"), float("nan"), "60"])
def test_a_deadline_that_is_none_is_refused(seconds: Any, nap: Nap) -> None:
    nap.deadline_s = seconds
    with pytest.raises(UserError, match=r"the tool nap has deadline_s = .*; fix: give it seconds"):
        load_tools([nap])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked there")
def test_a_forked_process_has_threads_of_its_own(nap: Nap) -> None:
    nap.deadline_s = 60.0
    assert call(nap, lambda *_: 1) == 1  # which leaves an idle thread here
    child = os.fork()
    if child == 0:
        os._exit(call(nap, lambda *_: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


class Scribbler(Nap):
    """Adds a view itself, once it is woken."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        super().__call__(args, workspace)
        workspace.add(workspace.views[0])
        self.called_in.clear()
        return ToolResult("late")


def test_a_late_call_does_not_write_into_an_episode_that_goes_on() -> None:
    tool = Scribbler()
    episode = Rules(tools=(tool,), view_size=64).begin(CASE)
    episode.step(render_call("nap", {}))
    wake(tool)
    assert not tool.called_in  # it has written by now
    assert len(episode.workspace.views) == 1
