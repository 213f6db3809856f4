"""The chooser calls the tool that a case needs, or any, and answers by what it is told."""

from collections import Counter
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.sources.phantom.tool_questions import question_name
from medgym.tool import load_tools
from medgym.trajectory import Trajectory

CASES = "phantom,look=radiograph,size=256,question=kind+length+stage:train"
TOOLS = ("zoom", "measure", "retrieve?passages=phantom-rules")
NEEDED = {"kind": "zoom", "length": "measure", "stage": "retrieve"}


def play(spec: str, count: int, **options: Any) -> list[tuple[str, Trajectory]]:
    cases = open_cases(f"{CASES}[:{count}]")
    rules = Rules(tools=load_tools(options.pop("tools", TOOLS)), view_size=64, **options)
    played = collect(cases, load_policy(spec), rules, ordered=True)
    return [(question_name(case), each) for case, each in zip(cases, played, strict=True)]


@pytest.mark.parametrize("coordinates", ["thousandths", "pixel"])
@pytest.mark.parametrize("spec", ["scripted:chooser", "scripted:oracle"])
def test_a_good_call_is_of_the_needed_tool_and_tells_the_answer(
    spec: str, coordinates: Any
) -> None:
    for question, trajectory in play(spec, 24, coordinates=coordinates):
        assert trajectory.calls == (NEEDED[question],)
        assert trajectory.correct
        assert trajectory.failed_calls == trajectory.malformed == 0


def test_random_calls_are_of_any_tool_and_a_call_of_another_tool_tells_nothing() -> None:
    played = play("scripted:chooser,good=0,random=1", 120)
    assert all(t.failed_calls == t.malformed == 0 for _, t in played)
    for question in NEEDED:
        calls = Counter(t.calls[0] for asked, t in played if asked == question)
        assert set(calls) == set(NEEDED.values())
        assert min(calls.values()) >= 5
    assert 0.15 < sum(t.correct for _, t in played) / 120 < 0.42


def test_the_shares_are_those_that_were_asked_for() -> None:
    played = play("scripted:chooser,good=0.3,random=0.3", 120)
    used = sum(t.calls == (NEEDED[question],) for question, t in played)
    assert 0.28 < used / 120 < 0.52  # 0.3, and a third of 0.3
    assert 0.28 < sum(not t.calls for _, t in played) / 120 < 0.52


def test_a_tool_that_is_not_offered_is_not_called() -> None:
    played = play("scripted:chooser", 12, tools=("zoom",))
    assert all(t.calls == (("zoom",) if asked == "kind" else ()) for asked, t in played)


@pytest.mark.parametrize("spec", ["good=0.6,random=0.6", "good=-1", "grid=1", "steps=1"])
def test_a_wrong_option_is_named(spec: str) -> None:
    with pytest.raises(UserError):
        load_policy(f"scripted:chooser,{spec}")
