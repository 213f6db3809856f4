"""Scripted policies in a volume: they slice, zoom, answer; and guess where they have not seen."""

from collections import Counter

import pytest

from medgym.agents.scripted.volumes import site_of
from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.messages import Calls, parse_action
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.trajectory import Trajectory

CASES = open_cases("phantom,look=ct-volume,question=kind,size=128,depth=8:train[:120]")
TOOLS = Rules(tools=load_tools(["slice", "zoom"]), view_size=64, max_turns=3)


def play(spec: str, rules: Rules = TOOLS, count: int = 120) -> list[tuple[Case, Trajectory]]:
    cases = CASES[:count]
    return list(zip(cases, collect(cases, load_policy(spec), rules, ordered=True), strict=True))


def tools_of(trajectory: Trajectory) -> list[str]:
    said = [parse_action(n.text) for n in trajectory.nodes if n.role == "assistant"]
    return [call.name for action in said if isinstance(action, Calls) for call in action.calls]


def test_the_oracle_takes_both_tools_and_is_right() -> None:
    for case, trajectory in play("scripted:oracle", count=40):
        assert trajectory.correct
        assert tools_of(trajectory) == ["slice", "zoom"]
        assert trajectory.failed_calls == 0
        x0, y0, x1, y1 = trajectory.looks[-1].box_px
        left, top, right, bottom = case.regions[0].box_px
        assert (x0 <= left, y0 <= top, right <= x1, bottom <= y1) == (True,) * 4


def test_a_demonstrator_that_looks_well_needs_no_gold_beyond_the_place() -> None:
    assert all(trajectory.correct for _, trajectory in play("scripted:demonstrator,good=1,steps=7"))


@pytest.mark.parametrize("tools", [(), ("zoom",), ("slice",)])
def test_without_both_tools_it_guesses(tools: tuple[str, ...]) -> None:
    rules = Rules(tools=load_tools(tools), view_size=64, max_turns=3)
    played = play("scripted:demonstrator,good=1,steps=7", rules)
    assert {tuple(tools_of(trajectory)) for _, trajectory in played} == {()}
    assert sum(trajectory.correct for _, trajectory in played) / 120 == pytest.approx(
        0.25, abs=0.12
    )


def test_looks_are_good_random_and_omitted_as_often_as_asked() -> None:
    played = play("scripted:demonstrator,good=0.3,random=0.3,steps=7")
    counts = Counter(tuple(tools_of(trajectory)) for _, trajectory in played)
    assert set(counts) == {(), ("slice", "zoom")}
    assert counts[()] / 120 == pytest.approx(0.4, abs=0.12)
    right = sum(trajectory.correct for _, trajectory in played) / 120
    # 0.3 + 0.3 / 4 take an image that shows the lesion, half of these the window around it.
    assert right == pytest.approx(0.19 + 0.81 / 4, abs=0.12)


def test_a_random_look_alone_is_no_better_than_a_guess() -> None:
    played = play("scripted:demonstrator,good=0,random=1,steps=7")
    assert len({trajectory.nodes[1].text for _, trajectory in played}) == 8
    assert sum(trajectory.correct for _, trajectory in played) / 120 == pytest.approx(
        0.25, abs=0.13
    )


def test_a_region_in_the_plane_that_is_shown_has_no_site() -> None:
    flat = open_cases("phantom,look=radiograph,question=kind:train[:1]")[0]
    assert site_of(flat) is None
    site = site_of(CASES[0])
    assert site is not None
    assert (site.plane, site.count, site.size) == ("axial", 8, (128, 128))
    assert site.middle in range(*(CASES[0].regions[0].indices or (0, 0)))
