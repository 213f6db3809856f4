"""The seam of scoring: one definition of right for rubrics, episodes and judges."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from medgym import registry
from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.scorer import (
    RIGHT,
    UNANSWERED,
    WRONG,
    Grade,
    grade,
    load_scorer,
    scorer_name,
    scorer_versions,
)

CASE = Case(
    id="a/test/0", images=(), question="?", answer="yes", answer_type="open", group="g",
    source="a", split="test",
)  # fmt: skip


class Lenient:
    """Takes any answer that holds the gold."""

    version = "lenient 3"

    def __call__(self, case: Case, answer: str) -> Grade:
        if answer == "boom":
            raise ZeroDivisionError("by zero")
        return RIGHT if case.answer in answer else WRONG


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type], None]]:
    """Registers a scorer for all answers."""
    load = registry.load

    def register(scorer: type) -> None:
        load_scorer.cache_clear()
        monkeypatch.setattr(
            registry, "load", lambda kind, name: scorer if kind == "scorers" else load(kind, name)
        )

    yield register
    load_scorer.cache_clear()


@pytest.fixture
def lenient(registered: Callable[[type], None]) -> None:
    """`Lenient` is registered for open answers."""
    registered(Lenient)


@pytest.mark.usefixtures("lenient")
def test_another_scorer_changes_the_reward_and_the_accuracy_alike() -> None:
    episode = Rules().begin(CASE, [])
    episode.step("<answer>yes, it is</answer>")
    assert episode.score is not None
    assert (episode.score.terms["answer"], episode.score.correct) == (1.0, True)
    assert scorer_versions([CASE]) == {"open": "lenient 3"}


@pytest.mark.usefixtures("lenient")
def test_a_scorer_that_fails_is_named() -> None:
    with pytest.raises(RunError, match=r"the scorer 'open' failed on a/test/0: ZeroDivisionError"):
        grade(CASE, "boom")


def test_a_scorer_that_gives_no_grade_is_named(registered: Callable[[type], None]) -> None:
    class Bare(Lenient):
        def __call__(self, case: Case, answer: str) -> Any:
            return True

    registered(Bare)
    with pytest.raises(RunError, match=r"the scorer 'open' gave a bool for a/test/0; fix: "):
        grade(CASE, "yes")


def test_a_scorer_without_a_version_is_refused_before_it_scores(
    registered: Callable[[type], None],
) -> None:
    class Bare:
        def __call__(self, case: Case, answer: str) -> Grade:
            raise AssertionError

    registered(Bare)
    with pytest.raises(UserError, match=r"the scorer 'open' has no version; fix: "):
        grade(CASE, "yes")


def test_no_answer_is_unanswered_and_not_wrong() -> None:
    assert grade(CASE, None) is UNANSWERED
    assert (UNANSWERED.score, UNANSWERED.right, RIGHT.right) == (0.0, False, True)


def test_a_case_with_options_is_a_choice() -> None:
    offered = CASE.model_copy(update={"options": ("no", "yes")})
    assert (scorer_name(CASE), scorer_name(offered)) == ("open", "choice")
    assert grade(offered, "B").right


def test_the_scorers_of_cases_are_named_with_their_versions() -> None:
    cases = [CASE, *open_cases("phantom,question=presence:test[:3]")]
    assert scorer_versions(cases) == {"choice": "4", "open": "4"}


def test_an_unknown_scorer_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown scorer 'opn'; did you mean 'open'"):
        load_scorer("opn")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_is_between_0_and_1(score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Grade(score, "wrong")
