"""Micro-batches: joined calls yield what each would alone, and nobody waits for ever."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import ToolError
from medgym.failures import Failure
from medgym.imaging.opened import UnreadableImage
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.rollout.tool_batches import Batched, Batcher, batched, close_batches
from medgym.testing import check_tool
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import Workspace


class Square(Tool):
    """Squares a number."""

    name = "square"
    batch_size = 4

    class Args(ToolArgs):
        number: int

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []

    def run_many(self, calls: Sequence[tuple[Any, Any]]) -> Sequence[ToolResult | ToolError]:
        self.sizes.append(len(calls))
        time.sleep(self.seconds)
        return [
            ToolResult(str(args.number**2)) if args.number < 1000 else ToolError("too large")
            for args, _ in calls
        ]

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        (result,) = self.run_many([(args, workspace)])
        if isinstance(result, ToolError):
            raise result
        return result


def ask(batcher: Batcher, count: int) -> list[Any]:
    return [batcher.submit(Square.Args(number=i), None) for i in range(count)]  # type: ignore[arg-type]


def test_calls_are_joined_up_to_the_batch_size_and_in_order() -> None:
    tool = Square(0.02)
    futures = ask(Batcher(tool, wait=3.0), 10)
    assert [f.result().text for f in futures] == [str(i * i) for i in range(10)]
    assert tool.sizes == [4, 4, 2]


def test_a_call_alone_waits_only_a_little() -> None:
    tool = Square()
    assert ask(Batcher(tool, wait=0.05), 1)[0].result(timeout=60).text == "0"
    assert tool.sizes == [1]


def test_a_crash_is_everybodys_and_the_next_batch_goes_on() -> None:
    class Crashing(Square):
        def run_many(self, calls: Sequence[tuple[Any, Any]]) -> Sequence[ToolResult | ToolError]:
            if not self.sizes:
                self.sizes.append(0)
                raise MemoryError("out of memory")
            return super().run_many(calls)[:3]

    batcher = Batcher(Crashing(), wait=60.0)
    for future in ask(batcher, 4):
        with pytest.raises(Failure, match="square raised MemoryError at "):
            future.result()
    for future in ask(batcher, 4):
        with pytest.raises(Failure, match="square returned 3 results from run_many for 4 calls"):
            future.result()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit("over")])
def test_a_tool_that_asks_to_end_the_process_fails_its_batch(error: BaseException) -> None:
    class Ending(Square):
        def run_many(self, calls: Sequence[tuple[Any, Any]]) -> Sequence[ToolResult | ToolError]:
            if not self.sizes:
                self.sizes.append(0)
                raise error
            return super().run_many(calls)

    batcher = Batcher(Ending(), wait=1.0)
    for future in ask(batcher, 4):
        with pytest.raises(Failure, match=f"square raised {type(error).__name__}"):
            future.result(timeout=60)
    assert [future.result(timeout=60).text for future in ask(batcher, 2)] == ["0", "1"]


def test_a_thread_that_ends_fails_what_waits_and_is_replaced() -> None:
    class Unsized(Square):
        over = False

        @property
        def batch_size(self) -> int:  # type: ignore[override]
            if not self.over:
                raise SystemExit
            return 4

    tool = Unsized()
    batcher = Batcher(tool, wait=0.0)
    for future in ask(batcher, 3):
        with pytest.raises(Failure, match="square: its thread for batches ended"):
            future.result(timeout=60)
    tool.over = True
    assert [future.result(timeout=60).text for future in ask(batcher, 2)] == ["0", "1"]


def test_an_image_that_cannot_be_read_fails_only_the_call_that_asked_for_it() -> None:
    class Reader(Square):
        def run_many(self, calls: Sequence[tuple[Any, Any]]) -> Sequence[ToolResult | ToolError]:
            if any(args.number == 1 for args, _ in calls):
                raise UnreadableImage("a file is gone")
            return super().run_many(calls)

    first, second, third = ask(Batcher(Reader(), wait=0.5), 3)
    assert (first.result().text, third.result().text) == ("0", "4")
    with pytest.raises(UnreadableImage):
        second.result()


@pytest.mark.parametrize("results", [None, "ab", 5, {1: 2}])
def test_batches_of_another_kind_are_the_tools_fault(results: Any) -> None:
    class Wrong(Square):
        def run_many(self, calls: Sequence[tuple[Any, Any]]) -> Sequence[ToolResult | ToolError]:
            answer: Sequence[ToolResult | ToolError] = results
            return answer

    with pytest.raises(Failure, match="tool: square returned"):
        ask(Batcher(Wrong(), wait=0.0), 1)[0].result(timeout=60)


def test_nobody_waits_for_what_is_closed() -> None:
    class Held(Square):
        def run_many(self, calls: Sequence[tuple[Any, Any]]) -> Sequence[ToolResult | ToolError]:
            begun.set()
            assert go.wait(60)
            return super().run_many(calls)

    begun, go = threading.Event(), threading.Event()
    batcher = Batcher(Held(), wait=0.0)
    futures = ask(batcher, 9)
    assert begun.wait(60)
    batcher.close()
    go.set()
    with pytest.raises(CancelledError):
        futures[-1].result(timeout=60)
    with pytest.raises(RuntimeError, match="square is closed"):
        ask(batcher, 1)
    assert not futures[0].cancelled()


def test_a_stand_in_looks_like_the_tool() -> None:
    tool = Square()
    stand_in = Batched(tool)
    assert stand_in.schema() == tool.schema()
    assert (stand_in.name, stand_in.description) == (tool.name, tool.description)
    assert stand_in.fidelity == tool.fidelity
    check_tool(stand_in, calls=5)
    stand_in.close()


def test_only_tools_that_take_batches_are_joined() -> None:
    class Plain(Square):
        name = "plain"
        batch_size = 1

    rules = Rules(tools=(Plain(),))
    assert batched(rules) is rules
    both = batched(Rules(tools=(Plain(), Square())))
    assert [type(tool).__name__ for tool in both.tools] == ["Plain", "Batched"]
    assert both.instructions == Rules(tools=(Plain(), Square())).instructions
    close_batches(both)


def test_a_tool_without_batches_of_its_own_does_one_after_the_other() -> None:
    class Halves(Tool):
        """Halves a number."""

        name = "halves"
        Args = Square.Args

        def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
            if args.number % 2:
                raise ToolError("odd")
            return ToolResult(str(args.number // 2))

    one, two = Halves().run_many([(Square.Args(number=n), None) for n in (4, 5)])  # type: ignore[misc]
    assert (one.text, str(two)) == ("2", "odd")  # type: ignore[union-attr]


class Asking(Policy):
    """Asks for squares of numbers that depend on the turn."""

    spec = "asking"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turns = sum(message.role == "assistant" for message in conversation)
        call = render_call("square", {"number": (3, 1001, 5)[turns % 3]})
        return Reply(call if turns < 3 else render_answer("A"))


def test_episodes_are_the_same_as_without_batches() -> None:
    cases = open_cases("phantom,look=ct,question=kind:train[:8]")
    tool = Square(0.01)
    rules = Rules(tools=(tool,), view_size=64)
    before = set(threading.enumerate())
    joined = list(collect(cases, Asking(), rules, ordered=True))
    assert max(tool.sizes) > 1
    for thread in set(threading.enumerate()) - before:
        if thread.name == "medgym-square":
            thread.join(timeout=60)
            assert not thread.is_alive()

    class Alone(Square):
        """Squares a number."""

        batch_size = 1

    assert list(collect(cases, Asking(), replace(rules, tools=(Alone(),)), ordered=True)) == joined
    assert "Error: too large." in joined[0].nodes[4].text
