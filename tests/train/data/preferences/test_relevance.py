"""Scores of clinical relevance from judges and tools, and weights that come of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.errors import RunError
from medgym.failures import Failure
from medgym.messages import Reply
from medgym.policy import Policy
from medgym.train.data.preferences import asking
from medgym.train.data.preferences.pair import Pair
from medgym.train.data.preferences.relevance import (
    LEAST,
    MOST,
    confidence_of,
    judged,
    read_score,
    weights_of,
)
from medgym.trajectory import Trajectory
from tests.train.data.preferences.made_up import play


class Judge(Policy):
    """Says of each request what `say` makes of its text."""

    def __init__(self, spec: str, say: Callable[[str], str]) -> None:
        self.spec = spec
        self.say = say
        self.asked: list[str] = []

    async def act(self, conversation: Any, sampling: Any) -> Reply:
        self.asked.append(conversation[-1].text)
        return Reply(self.say(conversation[-1].text))


@pytest.fixture
def right(tmp_path: Path) -> Trajectory:
    return play(tmp_path, (), [(0, 0, 500, 500)]).trajectory


def saying(trajectory: Trajectory, text: str) -> Trajectory:
    nodes = list(trajectory.nodes)
    nodes[-1] = replace(nodes[-1], text=text, token_ids=(len(text), 11))
    return replace(trajectory, nodes=tuple(nodes), reward=0.0)


def pair(right: Trajectory, text: str, score: float = 1.0) -> Pair:
    return Pair(right, saying(right, text), "outcome", "made", score)


def test_the_score_is_the_mean_of_the_judges(right: Trajectory) -> None:
    pairs = [pair(right, "near"), pair(right, "farther"), pair(right, "near")]
    sure = Judge("made:sure", lambda text: "<answer>1</answer>" if "near" in text else "0.2")
    mild = Judge("made:mild", lambda text: "I say 0.5." if "near" in text else "nothing")
    found = judged(pairs, [sure, mild])
    assert [each.score for each in found.pairs] == pytest.approx([0.75, 0.2, 0.75])
    assert found.unreadable == {"made:mild": 1}
    assert (found.by_judges, found.by_tools, found.unscored) == (3, 0, 0)
    assert len(sure.asked) == 2  # the same words are asked about once
    assert "Question: Which?" in sure.asked[0]
    assert "Options: one, other" in sure.asked[0]
    assert "Right reply: <answer>A</answer>" in sure.asked[0]


def test_images_alone_are_scored_by_a_tool(right: Trajectory) -> None:
    nodes = list(right.nodes)
    nodes[2] = replace(nodes[2], text="Found it (confidence: 0.75).")
    told = replace(right, nodes=tuple(nodes))
    judge = Judge("made:judge", lambda text: "0.25")
    found = judged(
        [Pair(told, told, "crop", "made"), Pair(right, right, "crop", "made"), pair(right, "no")],
        [judge],
    )
    assert [each.score for each in found.pairs] == [0.75, 0.5, 0.25]
    assert (found.by_judges, found.by_tools, found.unscored) == (1, 1, 1)


def test_nothing_readable_stops(right: Trajectory) -> None:
    with pytest.raises(RunError, match="none of 1 judgments can be read"):
        judged([pair(right, "no")], [Judge("made:mute", lambda text: "2")])
    assert judged([pair(right, "no", 0.3)], []).pairs[0].score == 1.0


def test_a_judge_that_fails_is_asked_again(
    right: Trajectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    failures = [Failure("policy", "busy"), Failure("policy", "busy")]

    def say(text: str) -> str:
        if failures:
            raise failures.pop()
        return "0.5"

    assert judged([pair(right, "no")], [Judge("made:busy", say)]).pairs[0].score == 0.5

    def fail(text: str) -> str:
        raise Failure("policy", "down")

    with pytest.raises(RunError, match="made:down did not reply"):
        judged([pair(right, "no")], [Judge("made:down", fail)])

    def refuse(text: str) -> str:
        if "no" in text.rpartition("Wrong reply: ")[2].split("\n")[0]:
            raise Failure("policy", "will not", withheld="refused")
        return "1"

    found = judged([pair(right, "no"), pair(right, "yes")], [Judge("made:shy", refuse)])
    assert found.unreadable == {"made:shy": 1}
    assert [each.score for each in found.pairs] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<answer>0.5</answer>", 0.5),
        ("<think>0.1</think><answer> 1.0 </answer>", 1.0),
        ("From 0 to 1: 0.8.", 0.8),
        ("1", 1.0),
        (".25", 0.25),
        ("<answer>0.4/1</answer>", 0.4),
        ("10", None),
        ("1.5", None),
        ("-0.5", None),
        ("80%", None),
        ("v0.5.1", None),
        ("0.3.", 0.3),
        ("high", None),
        ("", None),
    ],
)
def test_read_score(text: str, score: float | None) -> None:
    assert read_score(text) == score


def test_only_tools_say_a_confidence(right: Trajectory) -> None:
    assert confidence_of(right) is None
    nodes = list(right.nodes)
    nodes[1] = replace(nodes[1], text="confidence 0.9")
    assert confidence_of(replace(right, nodes=tuple(nodes))) is None
    nodes[2] = replace(nodes[2], text='{"confidence": 0.5}, confidence = 1, confidence 80%')
    assert confidence_of(replace(right, nodes=tuple(nodes))) == 0.75


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_weights_are_clipped_z_scores(scores: list[float]) -> None:
    made = Trajectory("a", "p", 0, 0, "text", (), reward=1.0)
    pairs = [Pair(made, made, "made", "", score) for score in scores]
    weights = weights_of(pairs, "score")
    assert all(LEAST <= weight <= MOST for weight in weights)
    assert weights_of(pairs) == weights_of(pairs, "margin") == [1.0] * len(pairs)
    values = np.array(scores)
    if values.std() > 1e-6:
        expected = 1 + (values - values.mean()) / values.std()
        assert weights == pytest.approx(np.clip(expected, LEAST, MOST).tolist())
        assert min(weights) < 1 < max(weights)


def test_weights_by_margin_and_of_none() -> None:
    made = Trajectory("a", "p", 0, 0, "text", (), reward=1.0)
    pairs = [Pair(made, replace(made, reward=reward), "made", "") for reward in (0.0, 1.0)]
    assert weights_of(pairs, "margin") == [1.5, 0.5]
    assert weights_of(pairs, "margin", least=0.0, most=2.0) == [2.0, 0.0]
    assert weights_of([], "score") == []


def test_only_pairs_of_one_builder_are_compared() -> None:
    made = Trajectory("a", "p", 0, 0, "text", (), reward=1.0)
    told = [("crop", 1.0), ("outcome", 0.2), ("crop", 1.0), ("outcome", 0.4)]
    pairs = [Pair(made, made, builder, "", score) for builder, score in told]
    assert weights_of(pairs, "score") == [1.0, 0.5, 1.0, 1.5]
