"""`vista`: repetition before form before the answer, and nothing is paid past a gate."""

from collections.abc import Callable

import pytest

from medgym.messages import render_answer, render_call

RIGHT, WRONG = render_answer("B", "so it is"), render_answer("A", "so it is")
HERE = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}, "first here")
THERE = render_call("zoom", {"view": 0, "box": [500, 0, 1000, 500]}, "now there")
CHATTER = " ".join(["one two three four five six seven eight"] * 3)


@pytest.mark.parametrize(
    ("replies", "repetition", "form", "answer"),
    [
        ([RIGHT], 0, 1, 1),
        ([WRONG], 0, 1, 0),
        ([HERE, RIGHT], 0, 1, 1),
        ([HERE, THERE, RIGHT], 0, 1, 1),
        # The form is wrong: the right answer earns nothing.
        (["<answer>B</answer>"], 0, -1, 0),
        ([HERE, "<answer>B</answer>"], 0, -1, 0),
        (["B", RIGHT], 0, -1, 0),
        ([HERE, THERE], 0, -1, 0),
        # Repetition: neither form nor answer count, and the worst one does.
        ([HERE, HERE, RIGHT], -3, 0, 0),
        (["B", " B\n", RIGHT], -3, 0, 0),
        ([HERE, HERE.replace("first", "again"), RIGHT], -2, 0, 0),
        ([HERE + HERE.partition("</think>")[2], RIGHT], -2, 0, 0),
        ([render_answer("B", CHATTER)], -1.5, 0, 0),
        ([render_answer("A", CHATTER)], -1.5, 0, 0),
        ([render_answer(CHATTER, "hm")], -1.5, 0, 0),
        ([CHATTER, RIGHT], -1.5, 0, 0),
        ([HERE, HERE.replace("first", "again"), render_answer("B", CHATTER)], -2, 0, 0),
    ],
)
def test_each_gate_shuts_what_is_behind_it(
    scored: Callable, replies: list[str], repetition: float, form: float, answer: float
) -> None:
    assert scored("vista", replies) == {
        "repetition": repetition, "format": form, "answer": answer,
        "total": repetition + form + answer,
    }  # fmt: skip


def test_what_a_repetition_is_can_be_set(scored: Callable) -> None:
    twice = [render_answer("B", "one two three and one two three")]
    assert scored("vista", twice)["total"] == 2
    assert scored("vista,words=3,times=2", twice)["total"] == -1.5
    assert scored("vista,words=4,times=2", twice)["total"] == 2


def test_the_same_call_of_another_view_is_no_repetition(scored: Callable) -> None:
    other = render_call("zoom", {"view": 1, "box": [0, 0, 500, 500]}, "the other image")
    assert scored("vista", [HERE, other, RIGHT])["repetition"] == 0


def test_several_calls_of_one_form_are_no_repetition(scored: Callable) -> None:
    boxes = ([0, 0, 250, 250], [250, 0, 500, 250], [500, 0, 750, 250], [750, 0, 1000, 250])
    calls = "".join(render_call("zoom", {"view": 0, "box": box}) for box in boxes)
    assert scored("vista", [f"<think>All of it.</think>{calls}", RIGHT])["total"] == 2


def test_arguments_in_another_order_are_the_same_call(scored: Callable) -> None:
    turned = render_call("zoom", {"box": [0, 0, 500, 500], "view": 0}, "once more")
    assert scored("vista", [HERE, turned, RIGHT])["repetition"] == -2
