"""`med-r1`: being right and the form weigh alike, and neither gates the other."""

from collections.abc import Callable

import pytest

from medgym.messages import render_answer, render_call

LOOK = {"view": 0, "box": [0, 0, 500, 500]}


@pytest.mark.parametrize("name", ["med-r1", "medvlm-r1"])
@pytest.mark.parametrize(
    ("replies", "answer", "form"),
    [
        ([render_answer("B", "hm")], 1, 1),
        ([render_answer("A", "hm")], 0, 1),
        ([render_answer("B", "")], 1, 1),  # its pattern is content with an empty thought
        ([render_answer("what?", "hm")], 0, 1),
        ([render_answer("B")], 1, 0),
        ([render_answer("B", "hm") + " indeed"], 0, 0),
        ([render_call("zoom", LOOK, "hm"), render_answer("B", "hm")], 1, 1),
        ([render_call("zoom", LOOK), render_answer("B", "hm")], 1, 0),
        (["B", render_answer("B", "hm")], 1, 0),
        ([render_call("zoom", LOOK, "hm")], 0, 0),
    ],
)
def test_the_answer_and_the_form_earn_one_each(
    scored: Callable, name: str, replies: list[str], answer: float, form: float
) -> None:
    terms = scored(name, replies)
    assert terms == {"answer": answer, "format": form, "total": answer + form}
