"""Rubrics: what earns what, and terms that fail by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case
from medgym.episode import Episode, Rules
from medgym.errors import RunError, UserError
from medgym.imaging.study import ImageRef, Study
from medgym.rubric import Rubric, Schedule, Term, load_rubric, outcome, thought_through

CASE = Case(
    id="a/train/0", images=(), question="?", options=("no", "yes"), answer="yes",
    answer_type="choice", group="g", source="a", split="train",
)  # fmt: skip


def played(replies: Sequence[str], case: Case = CASE, **rules: Any) -> Episode:
    episode = Rules(**{"max_turns": 3, **rules}).begin(case, [])
    for reply in replies:
        episode.step(reply)
    assert episode.done
    return episode


@pytest.mark.parametrize(
    ("replies", "total", "terms"),
    [
        (["<answer>B</answer>"], 1.1, {"answer": 1, "format": 1}),
        (["<answer>yes</answer>"], 1.1, {"answer": 1, "format": 1}),
        (["<answer>A</answer>"], 0.1, {"answer": 0, "format": 1}),
        (["<answer>maybe</answer>"], 0, {"answer": 0, "format": 0}),
        (["B", "<answer>B</answer>"], 1.0, {"answer": 1, "format": 0}),
        (["B", "B", "B"], 0, {"answer": 0, "format": 0}),
        (["<answer>B</answer> B", "<answer>A</answer>"], 0, {"answer": 0, "format": 0}),
    ],
)
def test_the_outcome_pays_answer_and_form(
    replies: list[str], total: float, terms: dict[str, float]
) -> None:
    score = played(replies).score
    assert score is not None
    assert score.total == pytest.approx(total)
    assert score.terms == terms
    assert score.correct == (terms["answer"] == 1)


def test_no_form_earns_what_a_right_answer_does() -> None:
    answer, form = outcome().terms
    assert form.weight < 0.25 * answer.weight  # chance among four options


def test_a_question_without_options_needs_no_letter() -> None:
    case = CASE.model_copy(update={"options": (), "answer_type": "open"})
    score = played(["<answer>Yes.</answer>"], case).score
    assert score is not None
    assert score.total == pytest.approx(1.1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "three", None])
def test_a_term_that_gives_no_number_is_named(value: Any) -> None:
    rubric = Rubric("mine", (Term("odd", 1.0, lambda case, episode: value),))
    with pytest.raises(RunError, match=r"'odd' of the rubric 'mine' failed on a/train/0.*fix"):
        played(["<answer>B</answer>"], rubric=rubric)


def test_a_term_that_raises_is_named() -> None:
    rubric = Rubric("mine", (Term("odd", 1.0, lambda case, episode: 1 / 0),))
    with pytest.raises(RunError, match=r"'odd'.*ZeroDivisionError"):
        played(["<answer>B</answer>"], rubric=rubric)


def test_two_terms_of_one_name_are_refused() -> None:
    term = Term("same", 1.0, lambda case, episode: 1.0)
    with pytest.raises(UserError, match="two terms 'same'"):
        Rubric("mine", (term, term))


def test_weights_scale_terms_and_terms_stay_unweighted() -> None:
    terms = (Term("a", 2.0, lambda c, e: 0.5), Term("b", -1.0, lambda c, e: 0.25))
    score = played(["<answer>B</answer>"], rubric=Rubric("mine", terms)).score
    assert score is not None
    assert score.total == pytest.approx(0.75)
    assert score.terms == {"a": 0.5, "b": 0.25}
    assert score.correct


def test_rubrics_are_found_by_name() -> None:
    assert load_rubric("outcome").name == "outcome"
    mine = outcome()
    assert load_rubric(mine) is mine
    with pytest.raises(UserError, match="did you mean 'outcome'"):
        load_rubric("outcom")


def test_a_rubric_sees_what_was_looked_at() -> None:
    seen: list[int] = []

    def judge(case: Case, episode: Episode) -> float:
        seen.append(len(episode.workspace.views))
        return 0.0

    rubric = Rubric("mine", (Term("views", 1.0, judge),))
    studies = [Study(np.zeros((2, 2), np.uint8))] * 2
    case = CASE.model_copy(update={"images": (ImageRef(uri="a:1"), ImageRef(uri="a:2"))})
    Rules(rubric=rubric).begin(case, studies).step("<answer>B</answer>")
    assert seen == [2]


@pytest.mark.parametrize(
    ("points", "factors"),
    [
        (((0.0, 1.0),), [1, 1, 1, 1, 1]),
        (((0.0, 1.0), (0.5, 0.0)), [1, 0.5, 0, 0, 0]),
        (((0.25, 2.0), (0.75, -1.0)), [2, 2, 0.5, -1, -1]),
        (((0.0, 0.0), (0.5, 0.0), (1.0, 1.0)), [0, 0, 0, 0.5, 1]),
    ],
)
def test_a_schedule_is_linear_between_its_points(
    points: tuple[tuple[float, float], ...], factors: list[float]
) -> None:
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    assert [Schedule(points).at(share) for share in shares] == pytest.approx(factors)


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0.5, 1.0), (0.5, 2.0)),
        ((0.5, 1.0), (0.2, 2.0)),
        ((-0.1, 1.0),),
        ((0.0, 1.0), (2.0, 0.0)),
        ((0.0, float("nan")),),
        ((float("nan"), 1.0),),
    ],
)
def test_points_that_are_no_schedule_are_refused(points: Any) -> None:
    with pytest.raises(UserError, match="fix: write"):
        Schedule(points)


def test_a_scheduled_weight_counts_at_its_time() -> None:
    early = Term("early", 2.0, lambda c, e: 1.0).scheduled((0.0, 1.0), (0.5, 0.0))
    rubric = Rubric.of("mine", outcome().term("answer"), early)
    replies = ["<answer>B</answer>"]
    for share, total in ((0.0, 3.0), (0.25, 2.0), (0.5, 1.0), (1.0, 1.0)):
        at = rubric.at(share)
        score = played(replies, rubric=at).score
        assert score is not None
        assert score.total == pytest.approx(total)
        assert score.terms == {"answer": 1, "early": 1}
        assert at.at(0.0) == at
    plain = played(replies, rubric=rubric).score
    assert plain is not None
    assert plain.total == 3.0  # outside training the plain weight counts


def test_rubrics_compose() -> None:
    mine = Rubric.of(
        "mine",
        outcome().term("answer"),
        load_rubric("ophiuchus").term("format").weighted(0.3).named("form"),
    )
    assert [(term.name, term.weight) for term in mine.terms] == [("answer", 1.0), ("form", 0.3)]
    score = played(["<think>hm</think><answer>B</answer>"], rubric=mine).score
    assert score is not None
    assert score.total == pytest.approx(1.3)
    with pytest.raises(UserError, match="did you mean 'answer'"):
        mine.term("answr")


def test_a_weight_is_a_number() -> None:
    with pytest.raises(UserError, match="'odd' has the weight nan"):
        Term("odd", float("nan"), lambda c, e: 0.0)


@pytest.mark.parametrize(
    ("replies", "value"),
    [
        (["<think>hm</think><answer>B</answer>"], 1),
        (["<think></think><answer>anything</answer>"], 1),
        (["<answer>B</answer>"], 0),
        (["B", "<think>hm</think><answer>B</answer>"], 0),
        (["<think>hm</think>"] * 3, 0),
    ],
)
def test_a_thought_stands_in_every_reply(replies: list[str], value: float) -> None:
    assert thought_through(CASE, played(replies)) == value


def test_an_episode_without_a_reply_earns_nothing() -> None:
    from medgym.registry import names

    for name in names("rubrics"):
        episode = Rules(rubric=load_rubric(name)).begin(CASE, [])
        episode.truncate()
        assert episode.score is not None
        assert episode.score.total <= 0


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("grounded,wieght=1", "option of the rubric grounded 'wieght'; did you mean 'weight'"),
        ("grounded,weight=much", "weight='much' is not a number; fix"),
        ("vista,words=2.5", "words='2.5' is not a whole number; fix"),
        ("grounded,weight=1,weight=2", "weight is given twice; fix"),
        ("outcome,weight=1", "unknown option of the rubric outcome"),
        ("outcom,weight=1", "did you mean 'outcome'"),
    ],
)
def test_options_of_a_rubric_are_checked(spec: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        load_rubric(spec)
