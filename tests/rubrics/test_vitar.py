"""`vitar`: a little for each part of the form, and nothing for where it looked."""

from collections.abc import Callable

import pytest

from medgym.messages import render_answer, render_call

LOOK = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}, "hm")
NONE = render_call("zoom", {"view": 9, "box": [0, 0, 500, 500]}, "hm")


@pytest.mark.parametrize(
    ("replies", "action", "form", "answer"),
    [
        ([LOOK, render_answer("B", "hm")], 1, 1, 1),
        ([LOOK, LOOK, render_answer("B")], 1, 1, 1),
        ([NONE, render_answer("B")], 1, 1, 1),  # it can be read, and that is what is paid for
        ([LOOK, render_answer("A")], 1, 1, 0),
        ([LOOK, render_answer("A, B")], 1, 0, 0),
        ([render_answer("B")], 0, 1, 1),
        ([LOOK.partition("</think>")[2], render_answer("B")], 0, 1, 1),
        ([LOOK, "B", render_answer("B")], 0, 1, 1),
        (["B", render_answer("B")], 0, 1, 1),
        ([LOOK, LOOK], 1, 0, 0),
        (["B"], 0, 0, 0),
    ],
)
def test_each_part_earns_by_itself(
    scored: Callable, replies: list[str], action: float, form: float, answer: float
) -> None:
    terms = scored("vitar", replies)
    assert terms.pop("total") == pytest.approx(0.2 * action + 0.2 * form + answer)
    assert terms == {"action": action, "format": form, "answer": answer}
