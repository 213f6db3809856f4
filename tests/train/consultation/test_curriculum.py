"""C-MARL's order: difficulty by the specialists, stages by the recipe, some of the rest again."""

from collections import Counter

import pytest

from medgym.cases import open_cases
from medgym.consultation.opinions import Opinion
from medgym.errors import UserError
from medgym.train.consultation.curriculum import Entropy, difficulty, staged
from medgym.train.recipe.schema import StageTable

CASES = open_cases("phantom,look=ct,question=diagnosis:test[:60]")
LEVELS = ("easy", "medium", "hard")
POOL = [(case, LEVELS[place % 3]) for place, case in enumerate(CASES)]
STAGES = (
    StageTable(difficulty="easy", share=0.2),
    StageTable(difficulty="medium", share=0.3, entropy=0.01),
    StageTable(difficulty="hard", share=0.5, entropy=0.02),
)


@pytest.mark.parametrize(
    ("said", "level"), [("rrr", "easy"), ("rrw", "medium"), ("www", "hard"), ("", "hard"),
                        ("rn", "medium"), ("nn", "hard")],
)  # fmt: skip
def test_difficulty_is_by_the_share_of_right_opinions(said: str, level: str) -> None:
    case = CASES[0]
    wrong = next(option for option in case.options if option != case.answer)
    answers = {"r": case.answer, "w": wrong, "n": None}
    assert difficulty(case, [Opinion("radiologist", answers[each]) for each in said]) == level


def test_stages_come_in_order_each_with_its_entropy_and_some_of_the_rest() -> None:
    order, weights = staged(POOL, STAGES, steps=20, groups=4, rehearse=0.25, seed=0)
    assert len(order) == 80
    assert weights == [0.0] * 4 + [0.01] * 6 + [0.02] * 10
    level = {case.id: own for case, own in POOL}
    parts = (("easy", order[:16]), ("medium", order[16:40]), ("hard", order[40:]))
    for name, part in parts:
        counts = Counter(level[case.id] for case in part)
        assert counts[name] == round(0.75 * len(part))
        assert set(counts) == set(LEVELS)


def test_no_case_comes_twice_in_a_stage_before_all_have_come() -> None:
    hard = (StageTable(difficulty="hard", share=1.0),)
    order, _ = staged(POOL, hard, steps=10, groups=4, rehearse=0, seed=1)
    assert set(Counter(case.id for case in order).values()) == {2}
    again, _ = staged(POOL, hard, steps=10, groups=4, rehearse=0, seed=1)
    assert again == order


def test_a_stage_without_cases_is_an_error_that_names_it() -> None:
    easy = [pair for pair in POOL if pair[1] != "hard"]
    with pytest.raises(UserError, match="no case is hard"):
        staged(easy, STAGES, steps=20, groups=4, rehearse=0.2, seed=0)


def test_the_trainer_gets_the_weight_of_its_step() -> None:
    class Trainer:
        entropy_coef = 1.0

    class State:
        global_step = 0

    trainer = Trainer()
    callback = Entropy([0.0, 0.5], trainer)
    state = State()
    for step, weight in ((0, 0.0), (1, 0.5), (7, 0.5)):
        state.global_step = step
        callback.on_step_begin(None, state, None)
        assert trainer.entropy_coef == weight
