"""Looking: what counts as a hit, which errors a policy made, and their means over episodes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, Region
from medgym.episode import Rules
from medgym.imaging.study import Box, ImageRef, Study
from medgym.messages import MAX_CALLS, render_answer, render_call
from medgym.metrics.looking import best_iou, errors, hit, metrics
from medgym.rollout.record import record
from medgym.tool import load_tools
from medgym.trajectory import Look, Trajectory, failed_trajectory

CASE = Case(
    id="a/train/0", images=(ImageRef(uri="a:0"),), question="?", options=("no", "yes"),
    answer="yes", answer_type="choice", group="g", source="a", split="train",
    regions=(Region(label="x", box_px=(20, 20, 40, 40)),),
)  # fmt: skip
BARE = CASE.model_copy(update={"regions": ()})
THERE = render_call("zoom", {"view": 0, "box": [200, 200, 400, 400]})
AWAY = render_call("zoom", {"view": 0, "box": [600, 600, 800, 800]})
RIGHT, WRONG = render_answer("B"), render_answer("A")


def played(replies: Sequence[str], case: Case = CASE, **rules: Any) -> Trajectory:
    offered = {"tools": load_tools(["zoom", "segment"]), "view_size": 50, **rules}
    study = Study(np.zeros((100, 100), np.uint8))
    episode = Rules(max_turns=len(replies), **offered).begin(case, [study])
    for reply in replies:
        episode.step(reply)
    return record(case, episode, policy="p", seed=0, member=0, kind="text")


@pytest.mark.parametrize(
    ("replies", "case", "found"),
    [
        ([THERE, RIGHT], CASE, set()),
        ([AWAY, RIGHT], CASE, set()),
        (["<tool_call>{</tool_call>", RIGHT], CASE, {"E1"}),
        (["<tool_call>[]</tool_call>", RIGHT], CASE, {"E1"}),
        ([THERE.removesuffix("</tool_call>"), RIGHT], CASE, {"E1"}),
        ([THERE + "there", RIGHT], CASE, {"E1"}),
        ([THERE * (MAX_CALLS + 1), RIGHT], CASE, {"E1"}),
        ([render_call("peek", {}), RIGHT], CASE, {"E2"}),
        ([render_call("zoom", {"view": 0}), RIGHT], CASE, {"E2"}),
        ([render_call("zoom", {"view": 0, "box": [0, 0, 9, 9], "by": 2}), RIGHT], CASE, {"E2"}),
        ([render_call("segment", {"view": 0}), RIGHT], CASE, {"E2"}),
        ([render_call("zoom", {"view": "first", "box": [0, 0, 9, 9]}), RIGHT], CASE, {"E3"}),
        ([render_call("zoom", {"view": 0, "box": [0, 0, 9]}), RIGHT], CASE, {"E3"}),
        ([render_call("zoom", {"view": -1, "box": [0, 0, 9, 9]}), RIGHT], CASE, {"E3"}),
        ([render_call("zoom", {"view": 7, "box": [0, 0, 9, 9]}), RIGHT], CASE, {"E4"}),
        ([render_call("zoom", {"view": 0, "box": [9, 0, 0, 9]}), RIGHT], CASE, {"E4"}),
        (["B", RIGHT], CASE, {"E5"}),
        ([THERE + RIGHT, RIGHT], CASE, {"E5"}),
        (["x" * 20_000, RIGHT], CASE, {"E5"}),
        ([render_answer("A, B")], CASE, {"E5"}),
        ([THERE, render_answer("neither")], CASE, {"E5"}),
        ([THERE, WRONG], CASE, {"E6"}),
        ([AWAY, WRONG], CASE, set()),  # it was not shown what was needed
        ([WRONG], CASE, set()),
        ([AWAY, WRONG], BARE, {"E6"}),
        ([render_call("peek", {}), WRONG], BARE, {"E2"}),
        (["B", render_call("peek", {}) + AWAY, THERE, WRONG], CASE, {"E2", "E5", "E6"}),
        (["B", "B"], CASE, {"E5"}),
    ],
)
def test_each_error_has_its_name(replies: list[str], case: Case, found: set[str]) -> None:
    assert errors(case, played(replies, case)) == found


def test_faults_are_recorded_one_by_one() -> None:
    calls = render_call("peek", {}) + THERE + render_call("zoom", {"view": 3, "box": [0, 0, 9, 9]})
    assert played(["B", calls, RIGHT]).faults == ("form", "name", "value")
    assert played([THERE, RIGHT]).faults == ()


def test_means_are_over_episodes() -> None:
    other = render_call("zoom", {"view": 0, "box": [200, 200, 400, 300]})
    pairs = [
        (CASE, played([THERE, THERE, RIGHT])),
        (CASE, played([AWAY + other, AWAY, "B", WRONG])),
        (CASE, played([render_call("<b>peek</b>", {}), WRONG])),
        (BARE, played(["B", "B"], BARE)),
    ]
    failed = failed_trajectory(CASE, policy="p", seed=0, member=0, failure="worker: died")
    found = metrics([*pairs, (CASE, failed)], tools=["segment"])
    assert found == {
        "looking/looked": 0.5,
        "looking/answered_blind": 0.25,
        "looking/hit": pytest.approx(1 / 3),
        "looking/iou": pytest.approx((1 + 0.5 + 0) / 3),
        "looking/distinct_views": (1 + 2) / 4,
        "looking/calls/segment": 0,
        "looking/calls/zoom": (2 + 3) / 4,
        "episode/turns": (3 + 4 + 2 + 2) / 4,
        "episode/malformed": 0.5,
        "episode/cut": 0.0,
        "episode/truncated": 0.25,
        "errors/E1": 0, "errors/E2": 0.25, "errors/E3": 0, "errors/E4": 0, "errors/E5": 0.5,
        "errors/E6": 0,
    }  # fmt: skip


def test_what_nothing_can_be_said_of_is_omitted() -> None:
    assert metrics([]) == {}
    found = metrics([(BARE, played([RIGHT], BARE))])
    assert "looking/hit" not in found
    assert "looking/iou" not in found


def test_a_policy_names_no_metric() -> None:
    found = metrics([(CASE, played([render_call("x" * 9000, {}), RIGHT]))])
    assert not any(name.startswith("looking/calls/") for name in found)


def test_gaze_is_nothing_to_hit() -> None:
    gaze = CASE.regions[0].model_copy(update={"label": "gaze"})
    only = CASE.model_copy(update={"regions": (gaze,)})
    assert hit(only, played([THERE, RIGHT])) is best_iou(only, played([THERE, RIGHT])) is None


def test_the_best_look_counts_and_only_on_its_image() -> None:
    trajectory = played([AWAY + THERE, RIGHT])
    assert best_iou(CASE, trajectory) == 1
    looks = tuple(replace(look, image=1) for look in trajectory.looks)
    assert best_iou(CASE, replace(trajectory, looks=looks)) == 0


OBLONG = CASE.model_copy(update={"regions": (Region(label="x", box_px=(20, 30, 50, 70)),)})
"""No two of its region's edges are the same number."""


def looked(box_px: Box, *, image: int = 0, gain: float = 2.0) -> Trajectory:
    looks = (Look("zoom", image, box_px, gain),)
    return replace(failed_trajectory(CASE, policy="p", seed=0, member=0, failure=""), looks=looks)


@pytest.mark.parametrize("slack", [None, 0.5, 2.0])
@pytest.mark.parametrize("side", range(4))
def test_a_hit_may_miss_each_side_by_the_slack_and_no_more(side: int, slack: float | None) -> None:
    given = {} if slack is None else {"slack_px": slack}
    inwards = (1, 1, -1, -1)[side]
    for short in (-5.0, 0.0, slack or 0.5):
        assert hit(OBLONG, looked(moved(side, inwards * short)), **given) is True
    assert hit(OBLONG, looked(moved(side, inwards * ((slack or 0.5) + 0.25))), **given) is False


def moved(side: int, by: float) -> Box:
    """The box of the gold region with one of its sides moved."""
    box = [20.0, 30.0, 50.0, 70.0]
    box[side] += by
    return box[0], box[1], box[2], box[3]


def test_a_hit_is_on_the_image_of_the_region_and_closer_than_the_overview() -> None:
    box = (20.0, 30.0, 50.0, 70.0)
    assert hit(OBLONG, looked(box)) is True
    assert hit(OBLONG, looked(box, image=1)) is False
    assert hit(OBLONG, looked(box, gain=1.0)) is False
    assert hit(OBLONG, looked(box, gain=1.01)) is True
