"""Rows for TRL: every token of a trajectory once, masks and images whole, no loss unnoticed."""

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from medgym.episode import Rules
from medgym.rubric import Rubric, Term
from medgym.train.grpo.batch import (
    BatchRow,
    LostImages,
    as_trl,
    check_images,
    filled,
    reward_functions,
    row_of,
    rows_of,
    shortest,
)
from medgym.trajectory import ImageUse, Node, Trajectory

torch = pytest.importorskip("torch")

PAD = 9
PICTURES = {name: Image.new("RGB", (2, 2), name) for name in ("red", "blue")}
NODES = (
    Node(-1, "user", "?", (1, PAD, PAD, 2), (0,) * 4, images=(ImageUse("red", 0, 2),)),
    Node(0, "assistant", "look", (3, 4), (1, 1), (-0.5, -0.25)),
    Node(1, "tool", "a view", (5, PAD), (0, 0), images=(ImageUse("blue", 1, 1),)),
    Node(2, "assistant", "B", (6,), (1,), (-1.0,)),
    Node(3, "tool", "unread", (7, 8), (0, 0)),
)
TRAJECTORY = Trajectory("a", "p", 0, 0, "sampled", NODES, (PAD,), reward=1.0)
ROW = BatchRow(
    prompt=(1, PAD, PAD, 2),
    completion=(3, 4, 5, PAD, 6),
    mask=(1, 1, 0, 0, 1),
    logprobs=(-0.5, -0.25, 0.0, 0.0, -1.0),
    images=(PICTURES["red"], PICTURES["blue"]),
    features=(2, 1),
    messages=(
        {"role": "assistant", "content": "look"},
        {"role": "tool", "content": "a view"},
        {"role": "assistant", "content": "B"},
    ),
)
SHORT = BatchRow((1, 2), (3,), (1,), (-0.5,), (PICTURES["red"],), (1,))


def test_a_row_ends_with_the_last_reply() -> None:
    assert row_of(TRAJECTORY, PICTURES) == ROW


def test_a_row_follows_its_branch() -> None:
    """Another reply to the first message is another row, without what lies between."""
    other = replace(NODES[3], parent=0)
    row = row_of(replace(TRAJECTORY, nodes=(*NODES[:3], other)), PICTURES)
    assert (row.completion, row.images) == ((6,), (PICTURES["red"],))


def test_a_failed_trajectory_has_no_row() -> None:
    failed = replace(TRAJECTORY, nodes=(), reward=None, failure="worker died")
    assert rows_of([TRAJECTORY, failed], PICTURES) == [ROW, None]


def test_an_image_that_did_not_arrive_is_counted() -> None:
    says = (
        "^invariant 3: images were lost on the way: a: 2 images were shown and 1 of them did not "
        "reach the trainer$"
    )
    with pytest.raises(LostImages, match=says) as error:
        row_of(TRAJECTORY, {"red": PICTURES["red"]})
    assert error.value.invariant == 3


def test_the_shortest_row_stands_in_silently_for_a_failed_one() -> None:
    assert shortest([]) is shortest([None]) is None
    assert shortest([ROW, None, SHORT]) is SHORT
    # Both parts of a row count, not the prompt or the completion by itself.
    long_prompt = replace(SHORT, prompt=(1,) * 9)
    long_reply = replace(SHORT, completion=(1,) * 9)
    assert shortest([long_prompt, ROW, long_reply]) is ROW
    rows = filled([ROW, None, SHORT], SHORT, silent=[False, True, True])
    assert rows == [ROW, SHORT.silent(), SHORT.silent()]
    assert SHORT.silent() == replace(SHORT, mask=(0,))
    assert ROW.silent().mask == (0,) * 5


def test_without_a_stand_in_a_hole_has_no_row() -> None:
    assert filled([None, ROW], None, silent=[True, False]) == [ROW]
    with pytest.raises(ValueError, match="zip"):
        filled([ROW], None, silent=[])


def test_trl_is_given_lists_and_every_image() -> None:
    bare = BatchRow((1,), (2,), (1,), (-1.0,))
    images = [list(ROW.images), []]
    assert as_trl([ROW, bare], {"terms": [1, 2]}) == (
        [[1, PAD, PAD, 2], [1]],
        [[3, 4, 5, PAD, 6], [2]],
        [[1, 1, 0, 0, 1], [1]],
        [list(ROW.messages), []],
        [[-0.5, -0.25, 0.0, 0.0, -1.0], [-1.0]],
        {"terms": [1, 2]},
        images,
        images,
    )
    assert as_trl([bare], {})[-2:] == (None, [[]])


def test_each_term_is_a_reward_of_its_own() -> None:
    terms = tuple(Term(name, weight, lambda *_: 0.0) for name, weight in (("a", 1.0), ("b", 0.5)))
    functions, weights = reward_functions(Rules(rubric=Rubric("r", terms)))
    assert [function.__name__ for function in functions] == ["a", "b"]
    assert weights == [1.0, 0.5]
    given = [{"a": 0.25, "b": 0.75}, None]
    assert [function(terms=given, prompts=[]) for function in functions] == [
        [0.25, None],
        [0.75, None],
    ]


TWO_ROWS = (ROW, replace(SHORT, prompt=(1, PAD, 2, 2), completion=(3, 3, 3, 3, 3)))
"""Three images, of 2, 1 and 1 features."""


def made(**changes: Any) -> dict[str, Any]:
    """What TRL makes of `TWO_ROWS` where nothing is lost; None takes an entry away."""
    whole = {
        "num_images": [2, 1],
        "pixel_values": torch.zeros(1),
        "prompt_ids": torch.tensor([row.prompt for row in TWO_ROWS]),
        "completion_ids": torch.tensor([row.completion for row in TWO_ROWS]),
        "image_grid_thw": torch.tensor([[1, 4, 2], [1, 2, 2], [1, 2, 2]]),  # a feature a 2 x 2
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def test_images_that_arrive_pass() -> None:
    check_images(made(), TWO_ROWS, PAD, merge=4)
    check_images(made(image_grid_thw=None), TWO_ROWS, PAD, merge=4)
    check_images({}, [replace(ROW, images=())], PAD, merge=4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_images": [2, 0]}, "3 images were shown and 2 reach the model"),
        ({"num_images": [2, 2]}, "3 images were shown and 4 reach the model"),
        ({"num_images": None}, "3 images were shown and 0 reach the model"),
        ({"pixel_values": None}, "3 images were shown and 3 reach the model"),
        (
            {"prompt_ids": torch.tensor([[1, PAD, 2, 2], [1, PAD, 2, 2]])},
            "shown as 4 features; the model is given 4 and 3 placeholders",
        ),
        (
            {"completion_ids": torch.full((2, 5), PAD)},
            "shown as 4 features; the model is given 4 and 13 placeholders",
        ),
        (
            {"image_grid_thw": torch.tensor([[1, 4, 2], [1, 2, 2], [1, 4, 2]])},
            "shown as 4 features; the model is given 5 and 4 placeholders",
        ),
    ],
)
def test_an_image_that_does_not_reach_the_model_stops_the_step(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(
        LostImages, match=f"^invariant 3: images were lost on the way: .*{says}; fix: "
    ):
        check_images(made(**changes), TWO_ROWS, PAD, merge=4)


def test_features_and_placeholders_that_agree_with_each_other_alone_are_refused() -> None:
    """Three where the rows say four: as if one image were shown at another size."""
    grid = torch.tensor([[1, 2, 2], [1, 2, 2], [1, 2, 2]])
    prompts = torch.tensor([[1, PAD, 2, 2], [1, PAD, 2, 2]])
    with pytest.raises(LostImages, match="4 features; the model is given 3 and 3 placeholders"):
        check_images(made(image_grid_thw=grid, prompt_ids=prompts), TWO_ROWS, PAD, merge=4)
