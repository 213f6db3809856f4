"""Episodes to score: a case with two images and gold, and a way to play replies on it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, Region
from medgym.episode import Episode, Rules
from medgym.imaging.study import ImageRef, Study
from medgym.rubric import Rubric, load_rubric
from medgym.tool import load_tools

CASE = Case(
    id="a/train/0", images=(ImageRef(uri="a:0"), ImageRef(uri="a:1")), question="?",
    options=("no", "yes"), answer="yes", answer_type="choice", group="g", source="a", split="train",
    regions=(Region(label="lesion", box_px=(20, 20, 40, 40)),),
)  # fmt: skip

Scored = Callable[..., dict[str, float]]


@pytest.fixture
def case() -> Case:
    """Two images of 100 x 100 pixels; the answer is B, the lesion lies at 20..40 of the first."""
    return CASE


@pytest.fixture
def scored() -> Scored:
    """Plays replies and returns the terms of the score, and its `total`."""

    def play(
        rubric: str | Rubric, replies: Sequence[str], case: Case = CASE, **rules: Any
    ) -> dict[str, float]:
        episode = begun(load_rubric(rubric), case, **{"max_turns": len(replies), **rules})
        for reply in replies:
            episode.step(reply)
        assert episode.score is not None
        return {**episode.score.terms, "total": episode.score.total}

    return play


def begun(rubric: Rubric, case: Case, **rules: Any) -> Episode:
    pixels = np.full((100, 100), 50, np.uint8)
    pixels[20:40, 20:40] = 250
    offered = {"tools": load_tools(["zoom", "segment", "retrieve"]), "view_size": 50, **rules}
    return Rules(rubric=rubric, **offered).begin(case, [Study(pixels), Study(pixels.copy())])
