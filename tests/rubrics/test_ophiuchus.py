"""`ophiuchus`: the tool bonus is paid only when right, and a segmentation by its IoU."""

from collections.abc import Callable

import numpy as np
import pytest

from medgym.cases import Case, Mask, Region
from medgym.messages import render_answer, render_call

LOOK = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}, "hm")
NONE = render_call("zoom", {"view": 9, "box": [0, 0, 500, 500]}, "hm")
READ = render_call("retrieve", {"query": "lesion"}, "hm")
RIGHT, WRONG = render_answer("B", "hm"), render_answer("A", "hm")


@pytest.mark.parametrize(
    ("replies", "answer", "form", "tool", "invalid"),
    [
        ([LOOK, RIGHT], 1, 1, 1, 0),
        ([LOOK, WRONG], 0, 1, 0, 0),  # looked and wrong: no bonus
        ([RIGHT], 1, 1, 0, 0),  # right and did not look: no bonus
        ([NONE, RIGHT], 1, 1, 0, 0),  # the call was refused
        ([READ, RIGHT], 1, 1, 0, 0),  # a tool that shows nothing
        ([LOOK, "B", RIGHT], 1, 0, 1, 1),
        ([LOOK, render_answer("B")], 1, 0, 1, 1),
        ([LOOK, "B", "B"], 0, 0, 0, 2),
    ],
)
def test_the_bonus_needs_a_look_and_a_right_answer(
    scored: Callable, replies: list[str], answer: float, form: float, tool: float, invalid: float
) -> None:
    terms = scored("ophiuchus", replies)
    assert terms.pop("total") == pytest.approx(answer + form + 2 * tool - 0.1 * invalid)
    assert terms == {"answer": answer, "format": form, "tool": tool, "invalid": invalid}


def test_the_bonus_can_be_set(scored: Callable) -> None:
    assert scored("ophiuchus,bonus=0.5", [LOOK, RIGHT])["total"] == 2.5


SEGMENT = render_call("segment", {"view": 0, "box": [150, 150, 450, 450]}, "hm")


@pytest.mark.parametrize(
    ("gold", "masked", "answer"),
    [
        ((20, 20, 40, 40), True, 3),
        ((20, 20, 40, 40), False, 3),
        ((20, 20, 40, 36), True, 2),  # 0.8 exactly is not above 0.8
        ((20, 20, 40, 34), True, 1),
        ((20, 20, 40, 30), True, 0),
        ((60, 60, 80, 80), True, 0),
    ],
)
def test_a_segmentation_earns_by_its_iou(
    scored: Callable, case: Case, gold: tuple[int, int, int, int], masked: bool, answer: float
) -> None:
    inside = np.zeros((100, 100), bool)
    inside[gold[1] : gold[3], gold[0] : gold[2]] = True
    region = Region(label="x", box_px=gold, mask=Mask.of(inside) if masked else None)
    case = case.model_copy(
        update={"answer_type": "region", "options": (), "answer": "", "regions": (region,)}
    )
    terms = scored("ophiuchus", [SEGMENT, render_answer("done", "hm")], case)
    assert terms["answer"] == answer
    assert terms["tool"] == float(answer > 0)
    unseen = scored("ophiuchus", [render_answer("done", "hm")], case)
    assert (unseen["answer"], unseen["tool"]) == (0, 0)


def test_a_segmentation_is_held_to_all_gold_of_every_image(scored: Callable, case: Case) -> None:
    region = Region(label="x", box_px=(20, 20, 40, 40))
    both = (region, region.model_copy(update={"image": 1}))
    update = {"answer_type": "region", "options": (), "regions": both}
    terms = scored("ophiuchus", [SEGMENT, render_answer("x", "hm")], case.model_copy(update=update))
    assert terms["answer"] == 0  # an IoU of 0.5 is not above 0.5


def test_the_last_region_counts_and_gaze_is_no_gold(scored: Callable, case: Case) -> None:
    elsewhere = render_call("zoom", {"view": 0, "box": [600, 600, 900, 900]}, "hm")
    update = {"answer_type": "region", "options": ()}
    case = case.model_copy(update=update)
    # A zoom has a box and no mask: the mask goes before it.
    assert scored("ophiuchus", [SEGMENT, elsewhere, RIGHT], case)["answer"] == 3
    assert scored("ophiuchus", [elsewhere, RIGHT], case)["answer"] == 0
    gaze = case.regions[0].model_copy(update={"label": "gaze"})
    only_gaze = case.model_copy(update={"regions": (gaze,)})
    assert scored("ophiuchus", [SEGMENT, RIGHT], only_gaze)["answer"] == 0
