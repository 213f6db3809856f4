"""A plug-in that misbehaves is a failure with its name; nothing ends, nothing hangs."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.consultation.role import load_role
from medgym.contracts import checked_reply
from medgym.env import MedEnv
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.failures import ContractError, Failure
from medgym.imaging import study as images
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import ImageRef
from medgym.judge import load_judge
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect, collection
from medgym.rollout.request import ready
from medgym.rubric import Rubric, Term, answered_right, load_rubric
from medgym.source import Source
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import View, Workspace

CASES = open_cases("phantom,look=ct,question=kind:train[:2]")

ENDINGS: list[BaseException] = [
    SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopIteration(),
    ValueError("no"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts without a pause."""
    monkeypatch.setattr(collection, "BACK_OFF", 0.0)
    monkeypatch.setattr(collection, "RETRIES", 1)


class Odd(Tool):
    """Does something odd."""

    name = "odd"

    class Args(ToolArgs):
        pass

    def __init__(self, do: Callable[[Workspace], Any]) -> None:
        self.do = do

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        result: ToolResult = self.do(workspace)
        return result


class OddBatch(Odd):
    """Does something odd."""

    batch_size = 2


class Plays(Policy):
    """Does something odd, then answers."""

    spec = "plays"

    def __init__(self, do: Callable[[], Any] = lambda: Reply(render_call("odd", {}))) -> None:
        self.do = do

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        if conversation[-1].role == "tool":
            return Reply(render_answer("A"))
        reply: Reply = self.do()
        return reply


def rules(do: Callable[[Workspace], Any], kind: type[Odd] = Odd) -> Rules:
    return Rules(tools=(kind(do),), view_size=64)


def failures(policy: Policy, played: Rules) -> set[str | None]:
    """What the failed episodes say; the run itself goes on to its end."""
    trajectories = list(collect(CASES, policy, played))
    assert len(trajectories) == len(CASES)
    assert all(trajectory.reward is None for trajectory in trajectories)
    return {trajectory.failure for trajectory in trajectories}


def raising(error: BaseException) -> Callable[..., Any]:
    def do(*_: object, **__: object) -> None:
        raise error

    return do


@pytest.mark.parametrize("error", ENDINGS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [Odd, OddBatch])
def test_whatever_a_tool_raises_fails_the_episode(error: BaseException, kind: type[Odd]) -> None:
    (failure,) = failures(Plays(), rules(raising(error), kind))
    assert failure is not None
    assert failure.startswith(f"tool: odd raised {type(error).__name__}")


@pytest.mark.parametrize("error", ENDINGS, ids=lambda error: type(error).__name__)
def test_whatever_a_policy_raises_fails_the_episode(error: BaseException) -> None:
    (failure,) = failures(Plays(raising(error)), rules(raising(error)))
    assert failure is not None
    # Of a coroutine, Python itself makes a RuntimeError of a StopIteration.
    name = type(error).__name__ if not isinstance(error, StopIteration) else "RuntimeError"
    assert failure.startswith(f"policy: plays raised {name}")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("no")])
def test_what_a_policy_raises_between_its_replies_fails_the_episode(error: BaseException) -> None:
    class Entering(Plays):
        def enter(self) -> None:
            raise error

    class Leaving(Plays):
        def leave(self) -> None:
            raise error

    for policy in (Entering(), Leaving()):
        (failure,) = failures(policy, rules(lambda _: ToolResult("done")))
        assert failure is not None
        assert failure.startswith(f"policy: plays raised {type(error).__name__}")


@pytest.mark.parametrize("error", ENDINGS, ids=lambda error: type(error).__name__)
def test_whatever_a_term_or_a_judge_raises_ends_in_one_line(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    rubric = Rubric("mine", (Term("odd", 1.0, raising(error)),))
    played = replace(rules(lambda _: ToolResult("done")), rubric=rubric)
    name = type(error).__name__
    with pytest.raises(RunError, match=f"'odd' of the rubric 'mine' failed on .*: {name}.*; fix"):
        list(collect(CASES, Plays(), played))
    monkeypatch.setattr("medgym.registry.load", lambda *_: raising(error))
    with pytest.raises(RunError, match=f"the judge 'mine' raised {name}.*; fix"):
        load_judge("mine")(Plays(), CASES, played, sampling=Sampling())


@pytest.mark.parametrize("value", [None, "1", float("nan"), float("inf"), [], 1j, ToolResult()])
def test_a_term_gives_a_finite_number(value: Any) -> None:
    rubric = Rubric("mine", (Term("odd", 1.0, lambda case, episode: value),))
    played = replace(rules(lambda _: ToolResult("done")), rubric=rubric)
    with pytest.raises(RunError, match="the term 'odd' of the rubric 'mine' failed on "):
        list(collect(CASES, Plays(), played))


def test_a_sum_of_terms_that_is_no_number_is_refused() -> None:
    terms = (Term("one", 1e308, answered_right), Term("two", 1e308, lambda *_: 10.0))
    played = replace(rules(lambda _: ToolResult("done")), rubric=Rubric("mine", terms))
    with pytest.raises(RunError, match="the terms of the rubric 'mine' add up to inf on "):
        list(collect(CASES, Plays(), played))


REPLIES = [None, 5, b"text", [], Reply(5), Reply(None), Reply([{"type": "text"}]),  # type: ignore[arg-type]
           Reply("a", prompt_ids=[1]), Reply("a", (1,), (2,), 0.5), Reply("a", malformed="no")]  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES, ids=repr)
def test_a_reply_of_another_kind_is_the_policys_failure(reply: Any) -> None:
    (failure,) = failures(Plays(lambda: reply), rules(lambda _: ToolResult("done")))
    assert failure is not None
    assert failure.startswith("policy: plays replied with ")
    with pytest.raises(ContractError):
        checked_reply(reply)
    env = MedEnv(CASES, tools=[])
    env.reset(seed=0)
    with pytest.raises(Failure, match="policy: replied with "):
        env.step(reply)


def view(image: Any = 0, box: Any = (0, 0, 9, 9), picture: Any = None, by: Any = "odd") -> Any:
    return lambda _: ToolResult(
        views=(View(-1, image, box, picture or Image.new("RGB", (9, 9)), by),)
    )


NAN = float("nan")
RESULTS = [
    lambda _: None,
    lambda _: "text",
    lambda _: {"text": ""},
    lambda _: ToolResult(None),  # type: ignore[arg-type]
    lambda _: ToolResult("a", "b"),  # type: ignore[arg-type]
    lambda _: ToolResult("a", (None,)),  # type: ignore[arg-type]
    lambda _: ToolResult("a", data=[1]),  # type: ignore[arg-type]
    view(77), view(-1), view(None), view(0.0), view("0"),
    *(view(box=box) for box in (
        (0, 0, 0, 0), (9, 9, 0, 0), (0, 0, 9, 0), (NAN, 0, 9, 9), (NAN,) * 4, (0, 0, 9, 1e9),
        (-1, 0, 9, 9), (0, 0, 9), (0, 0, 9, float("inf")), None, "box!",
    )),
    *(view(picture=picture) for picture in (
        Image.new("RGB", (65, 9)), Image.new("L", (9, 9)), Image.new("RGB", (0, 9)),
        np.zeros((9, 9, 3), np.uint8),
    )),
]  # fmt: skip


@pytest.mark.parametrize("kind", [Odd, OddBatch])
def test_an_impossible_result_is_the_tools_failure(kind: type[Odd]) -> None:
    for number, result in enumerate(RESULTS):
        episode = rules(result, kind).begin(CASES[0])
        with pytest.raises(Failure) as caught:
            episode.step(render_call("odd", {}))
        assert caught.value.boundary == "tool", number
        assert caught.value.reason.startswith("odd "), number
    (failure,) = failures(Plays(), rules(view(77), kind))
    assert failure == "tool: odd made a view of image 77; expected 0 to 0"


def test_a_look_without_a_name_is_the_tools() -> None:
    (first, _) = collect(CASES, Plays(), rules(view(by=None)), ordered=True)
    assert [look.tool for look in first.looks] == ["odd"]


@pytest.mark.parametrize("error", ENDINGS, ids=lambda error: type(error).__name__)
def test_whatever_a_source_raises_names_the_source(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Source):
        name = "odd"
        splits = ("all",)
        open_image = staticmethod(raising(error))

        def cases(self, split: str) -> Any:
            raise error

    monkeypatch.setattr("medgym.registry.load", lambda *_: Odd)
    with pytest.raises(RunError, match=f"the source 'odd' raised {type(error).__name__}"):
        open_cases("odd:all")
    with pytest.raises(Failure, match=f"source: odd raised {type(error).__name__}"):
        images.open_image(ImageRef(uri="odd:1"))


@pytest.mark.parametrize("made", [None, 5, [None], ["a case"], {}])
def test_a_source_makes_cases_and_studies(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Source):
        name = "odd"
        splits = ("all",)
        open_image = staticmethod(lambda ref: made)

        def cases(self, split: str) -> Any:
            return made

    monkeypatch.setattr("medgym.registry.load", lambda *_: Odd)
    with pytest.raises(RunError, match="the source 'odd' made a "):
        list(open_cases("odd:all"))
    with pytest.raises(Failure, match="source: odd opened a "):
        images.open_image(ImageRef(uri="odd:1"))


def test_an_image_of_another_kind_fails_its_case_as_the_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def odd(ref: ImageRef) -> OpenedImage:
        raise Failure("source", "odd opened a NoneType; expected a medgym.Study or ImagingStudy")

    monkeypatch.setattr("medgym.rollout.image_memory.opened_image", odd)
    (failure,) = failures(Plays(), rules(lambda _: ToolResult("done")))
    assert failure == "source: odd opened a NoneType; expected a medgym.Study or ImagingStudy"


@pytest.mark.parametrize("made", [None, 5, "policy"])
def test_a_spec_makes_a_policy(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Makes(Plays):
        @classmethod
        def from_spec(cls, rest: str, adapter: str | None) -> Policy:
            if made is None:
                sys.exit(0)
            policy: Policy = made
            return policy

    monkeypatch.setattr("medgym.policy.load", lambda *_: Makes)
    monkeypatch.setattr("medgym.policy.names", lambda *_: ("odd",))
    with pytest.raises(RunError, match=r"the policy 'odd' (raised SystemExit at|made a ).*; fix: "):
        load_policy("odd:x")


def test_a_plain_text_is_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    case: Case = CASES[0]
    (played,) = collect([case], Plays(lambda: render_answer("A")), rules(lambda _: ToolResult()))
    assert (played.answer, played.failure) == ("A", None)


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), ValueError("no")])
def test_what_is_asked_before_the_first_episode_names_the_plug_in(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Checked(Plays):
        async def check(self) -> None:
            raise error

    name = type(error).__name__
    with pytest.raises(RunError, match=f"the policy plays raised {name} at .*; fix"):
        ready(Checked())
    monkeypatch.setattr("medgym.registry.load", lambda *_: raising(error))
    monkeypatch.setattr("medgym.consultation.role.load", lambda *_: raising(error))
    for load in (load_role, load_rubric):
        with pytest.raises(RunError, match=f"the (role|rubric) 'mine' raised {name} at .*; fix"):
            load("mine")


class _Plain(Tool):
    """Does nothing."""

    name = "plain"

    class Args(ToolArgs):
        pass

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        return ToolResult()


def _fails(_: object) -> Any:
    raise ValueError


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", None, "the tool _Broken has no name; fix: write name"),
        ("Args", int, "the tool plain has no Args; fix: write class Args"),
        ("batch_size", "2", "the tool plain has batch_size = '2'; fix: give it"),
        ("deadline_s", property(_fails), "the tool _Broken raised ValueError"),
        ("schema", _fails, "the tool plain raised ValueError"),
    ],
)
def test_what_a_tool_says_of_itself_is_checked(name: str, value: Any, said: str) -> None:
    broken: Any = type("_Broken", (_Plain,), {name: value})
    with pytest.raises((UserError, RunError), match=said):
        _ = Rules.for_cases(CASES, tools=[broken]).instructions


def test_a_source_without_splits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.registry.load", lambda *_: object)
    with pytest.raises(RunError, match=r"the source 'bare' raised AttributeError at .*; fix"):
        open_cases("bare:test")
