"""How much of the gold was looked at, how many calls that needs, and which looks were in vain."""

from collections.abc import Sequence

import numpy as np
import pytest

from medgym.cases import Case, CaseView, Region
from medgym.episode import Rules
from medgym.imaging.study import Box, ImageRef, Slab, Study
from medgym.messages import render_answer, render_call
from medgym.metrics.grounding import call_faults, calls_needed, coverage, repeated_looks
from medgym.rollout.record import record
from medgym.tool import load_tools
from medgym.trajectory import Trajectory

CASE = Case(
    id="a/train/0", images=(ImageRef(uri="a:0"),), question="?", answer="yes", group="g",
    source="a", split="train", regions=(Region(label="x", box_px=(20, 20, 40, 40)),),
)  # fmt: skip
PIXELS = np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8)


def zoom(box: Sequence[int], view: int = 0) -> str:
    return render_call("zoom", {"view": view, "box": list(box)})


def played(*replies: str) -> Trajectory:
    rules = Rules(tools=load_tools(["zoom", "crop"]), view_size=50, max_turns=9)
    episode = rules.begin(CASE, [Study(PIXELS)])
    for reply in (*replies, render_answer("yes")):
        episode.step(reply)
    return record(CASE, episode, policy="p", seed=0, member=0, kind="text")


@pytest.mark.parametrize(
    ("replies", "share"),
    [
        ([], 0.0),
        ([zoom([200, 200, 400, 400])], 1.0),
        ([zoom([100, 100, 300, 900])], 0.5),
        ([zoom([100, 100, 300, 900]), zoom([100, 100, 300, 800])], 0.5),
        ([zoom([0, 0, 300, 300]), zoom([300, 300, 900, 900])], 0.5),
        ([zoom([600, 600, 900, 900])], 0.0),
    ],
)
def test_coverage_counts_each_pixel_of_the_gold_once(replies: list[str], share: float) -> None:
    assert coverage(CASE, played(*replies)) == pytest.approx(share)


def test_regions_that_overlap_count_once_and_a_case_without_any_has_no_coverage() -> None:
    boxes: list[Box] = [(20, 20, 40, 40), (20, 20, 40, 60)]
    both = CASE.model_copy(update={"regions": tuple(Region(label="x", box_px=b) for b in boxes)})
    assert coverage(both, played(zoom([200, 200, 400, 400]))) == pytest.approx(0.5)
    assert coverage(CASE.model_copy(update={"regions": ()}), played()) is None


def in_volume(
    first: int | None, slab: Slab | None = None, views: tuple[CaseView, ...] = ()
) -> Case:
    plane = None if first is None else "axial"
    ref = ImageRef(uri="a:0", plane=plane, index=first, slab=slab)
    region = Region(label="x", box_px=(20, 20, 40, 40), plane="axial", index=4, count=3)
    return CASE.model_copy(update={"images": (ref,), "regions": (region,), "views": views})


@pytest.mark.parametrize(
    ("case", "needed"),
    [
        (CASE, 1),
        (CASE.model_copy(update={"views": (CaseView(image=0, box_px=(10, 10, 50, 50)),)}), 0),
        (CASE.model_copy(update={"views": (CaseView(image=0, box_px=(30, 10, 50, 50)),)}), 1),
        (CASE.model_copy(update={"regions": ()}), None),
        (
            CASE.model_copy(update={"regions": (Region(label="x", box_px=(0, 0, 9, 9), image=3),)}),
            1,
        ),
        (in_volume(5), 1),
        (in_volume(5).model_copy(update={"images": ()}), 2),
        (in_volume(7), 2),
        (in_volume(None), 2),
        (in_volume(5, Slab(9)), 2),
        (in_volume(7, views=(CaseView(image=0, box_px=(0, 0, 50, 50), index=6),)), 0),
        (in_volume(7, views=(CaseView(image=0, box_px=(0, 0, 50, 50)),)), 2),
    ],
)
def test_the_least_number_of_calls(case: Case, needed: int | None) -> None:
    assert calls_needed(case) == needed


@pytest.mark.parametrize(
    ("replies", "repeated"),
    [
        ([zoom([200, 200, 400, 400])], 0),
        ([zoom([200, 200, 400, 400]), zoom([600, 600, 900, 900])], 0),
        ([zoom([200, 200, 400, 400])] * 3, 2),
        ([zoom([200, 200, 400, 400]), zoom([200, 200, 410, 400])], 1),
        ([zoom([200, 200, 400, 400]), zoom([0, 0, 1000, 1000], view=1)], 1),
        ([zoom([200, 200, 400, 400]), zoom([250, 250, 350, 350])], 0),
        ([zoom([0, 0, 1000, 1000])], 1),
        ([render_call("crop", {"view": 0, "box": [200, 200, 400, 400]}), zoom([2, 2, 9, 9])], 0),
    ],
)
def test_looks_that_showed_nothing_new(replies: list[str], repeated: int) -> None:
    assert repeated_looks(played(*replies)) == repeated


def test_the_faults_of_calls_are_told_from_those_of_replies() -> None:
    replies = ["B", render_call("peek", {}), zoom([9, 0, 0, 9]), zoom([200, 200, 400, 400])]
    assert call_faults(played(*replies)) == ["name", "value"]
