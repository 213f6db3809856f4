"""`grounded`: looking in the right place pays, only when right, and not for looking everywhere."""

from collections.abc import Callable

import numpy as np
import pytest

from medgym.cases import Case
from medgym.errors import UserError
from medgym.messages import render_answer, render_call
from medgym.metrics.regions import gaze_regions
from medgym.rubric import load_rubric

RIGHT, WRONG = render_answer("B"), render_answer("A")


def look(*box: int, view: int = 0) -> str:
    return render_call("zoom", {"view": view, "box": list(box)})


THERE = look(200, 200, 400, 400)
HALF = look(200, 200, 400, 300)
WIDE = look(100, 100, 500, 500)
AWAY = look(600, 600, 800, 800)


@pytest.mark.parametrize(
    ("replies", "iou", "coverage"),
    [
        ([THERE], 1, 1),
        ([HALF], 0.5, 0.5),
        ([WIDE], 0.25, 1),
        ([AWAY], 0, 0),
        ([], 0, 0),
        ([look(0, 0, 1000, 1000)], 0, 0),  # no finer than the first view: no look
        ([look(0, 0, 990, 990)], 400 / 99**2, 1),  # why IoU is the default
        ([THERE, AWAY], 0.5, 1),  # looking everywhere dilutes
        ([AWAY + THERE], 0.5, 1),
        ([HALF, look(200, 300, 400, 400)], 1, 1),  # two looks, the whole of it
        ([WIDE, THERE], 1, 1),  # the way there does not count
        ([WIDE, look(250, 250, 750, 750, view=2)], 1, 1),
        ([THERE, WIDE], 0.25, 1),
        ([THERE, look(200, 200, 400, 400, view=1)], 0.5, 1),  # the other image
        ([THERE, THERE], 1, 1),
    ],
)
def test_what_was_looked_at_is_held_against_gold(
    scored: Callable, replies: list[str], iou: float, coverage: float
) -> None:
    terms = scored("grounded", [*replies, RIGHT])
    assert terms["looking"] == pytest.approx(iou)
    assert terms["total"] == pytest.approx(1.1 + 0.5 * iou)
    assert scored("grounded,measure=coverage", [*replies, RIGHT])["looking"] == coverage
    weighed = scored("grounded,weight=0.2", [*replies, RIGHT])
    assert weighed["total"] == pytest.approx(1.1 + 0.2 * iou)


@pytest.mark.parametrize("last", [WRONG, "B", THERE])
def test_it_is_paid_only_when_right(scored: Callable, last: str) -> None:
    terms = scored("grounded", [THERE, last])
    assert (terms["answer"], terms["looking"]) == (0, 0)


def test_without_gold_there_is_nothing_to_look_for(scored: Callable, case: Case) -> None:
    bare = case.model_copy(update={"regions": ()})
    assert scored("grounded", [THERE, RIGHT], bare)["looking"] == 0


def test_a_gaze_map_goes_before_the_findings(scored: Callable, case: Case) -> None:
    heat = np.zeros((100, 100))
    heat[60:80, 60:80] = 0.5
    heat[60:80, 60:70] = 1.0
    gazed = case.model_copy(update={"regions": (*case.regions, *gaze_regions(heat))})
    assert scored("grounded", [THERE, RIGHT], gazed)["looking"] == 0
    shared, looked, gold = 200 + 0.5 * 200, 400, 200 + 0.5 * 200
    there = scored("grounded", [AWAY, RIGHT], gazed)["looking"]
    assert there == pytest.approx(shared / (looked + gold - shared))
    most = scored("grounded,measure=coverage", [look(600, 600, 700, 800), RIGHT], gazed)
    assert most["looking"] == pytest.approx(200 / 300)
    assert scored("grounded", [AWAY, WRONG], gazed)["looking"] == 0


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(UserError, match="did you mean 'coverage'"):
        load_rubric("grounded,measure=coverge")
