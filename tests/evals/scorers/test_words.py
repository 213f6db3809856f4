"""Token recall and token F1: what they are, and that recall is one that padding raises."""

import random

import pytest

from medgym.cases import Case
from medgym.evals.scorers.words import best_overlap, overlap, tokens_of


def an_open_case(answer: str, *accepted: str) -> Case:
    return Case(
        id="a/test/0", images=(), question="?", answer=answer, accepted=accepted, group="g",
        source="a", split="test",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "gold", "recall", "f1"),
    [
        ("pleural effusion", "Pleural effusion.", 1, 1),
        ("the pleural effusion", "A pleural effusion", 1, 1),
        ("effusion", "pleural effusion", 1 / 2, 2 / 3),
        ("left pleural effusion", "pleural effusion", 1, 4 / 5),
        ("effusion effusion", "pleural effusion", 1 / 2, 1 / 2),
        ("pneumonia", "pleural effusion", 0, 0),
        ("normal", "no", 0, 0),
        ("x-ray", "X ray", 1, 1),
        ("肝脏", "肝脏和脾", 1 / 2, 2 / 3),
        ("5 cm", "５ cm", 1, 1),
        ("", "effusion", 0, 0),
        ("the", "effusion", 0, 0),
        ("a", "a", 1, 1),
        ("?!", "effusion", 0, 0),
        ("effusion", "?!", 0, 0),
    ],
)
def test_words_are_counted_as_in_squad(answer: str, gold: str, recall: float, f1: float) -> None:
    assert overlap(answer, gold) == (pytest.approx(recall), pytest.approx(f1))


def test_the_best_gold_counts() -> None:
    case = an_open_case("pneumothorax", "air in the pleural space")
    assert best_overlap(case, "Air in pleural space") == (1, 1)
    assert best_overlap(case, "pneumothorax") == (1, 1)
    assert best_overlap(case, "air") == (pytest.approx(1 / 4), pytest.approx(2 / 5))


def test_an_empty_answer_says_nothing_of_a_gold_without_a_word() -> None:
    assert overlap("", "...") == (0, 0)
    assert tokens_of("...") == []


GOLDS = ("pleural effusion", "right lower lobe", "pneumonia", "left lung", "liver", "ct", "mass")


def test_recall_rewards_padding_and_f1_does_not() -> None:
    """Why recall never decides anything: everything listed has all of it."""
    everything = " ".join(GOLDS)
    cases = [an_open_case(gold) for gold in GOLDS]
    honest = [best_overlap(case, case.answer) for case in cases]
    padded = [best_overlap(case, f"{case.answer} {everything}") for case in cases]
    listed = [best_overlap(case, everything) for case in cases]
    assert all(each.recall == 1 for each in (*honest, *padded, *listed))
    assert all(each.f1 == 1 for each in honest)
    assert all(each.f1 < 1 / 2 for each in (*padded, *listed))


def test_no_paragraph_of_common_words_reaches_the_f1_of_a_right_answer() -> None:
    draw = random.Random(0)
    words = [word for gold in GOLDS for word in gold.split()]
    for case in map(an_open_case, GOLDS):
        paragraph = " ".join(draw.choices(words, k=40))
        assert best_overlap(case, paragraph).f1 <= 0.2
