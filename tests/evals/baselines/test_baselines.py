"""Baselines of policies that never look, against values worked out by hand."""

from collections.abc import Sequence

import pytest

from medgym.cases import Case, open_cases
from medgym.cli import main
from medgym.evals.baselines.baseline import (
    CHANCE,
    CONSTANT,
    PARAGRAPH,
    PRIOR,
    Baseline,
    baselines,
)

LETTERS4 = ("w", "x", "y", "z")


def case(number: int, answer: str, group: str = "", **fields: object) -> Case:
    given: dict[str, object] = {
        "id": f"mine/test/{number}", "images": (), "question": "Is it so?", "answer": answer,
        "answer_type": "closed", "group": group or str(number), "source": "mine", "split": "test",
    }  # fmt: skip
    return Case.model_validate(given | fields)


def found(cases: Sequence[Case]) -> dict[str, Baseline]:
    return {each.name: each for each in baselines(cases)}


def test_on_phantoms_all_are_at_chance() -> None:
    for question, chance in (("kind", 0.25), ("presence", 0.5)):
        rows = found(open_cases(f"phantom,question={question}:test[:80]"))
        assert rows[CHANCE].accuracy.value == chance
        for name in (CONSTANT, PRIOR):
            assert rows[name].accuracy.low <= chance <= rows[name].accuracy.high


def test_a_balanced_set_has_a_prior_at_chance_and_not_below_it() -> None:
    rows = found([case(n, ("yes", "no")[n % 2]) for n in range(40)])
    assert {name: row.accuracy.value for name, row in rows.items()} == {
        CONSTANT: 0.5, PRIOR: 0.5, CHANCE: 0.5
    }  # fmt: skip


def test_the_prior_is_the_most_frequent_answer_to_questions_of_the_kind() -> None:
    cases = [case(n, "no" if n < 15 else "yes") for n in range(20)]
    cases += [case(100 + n, "yes", question="Does it show one?") for n in range(20)]
    rows = found(cases)
    assert rows[PRIOR].accuracy.value == pytest.approx(35 / 40)
    assert (rows[CONSTANT].text, rows[CONSTANT].accuracy.value) == ("yes", 25 / 40)


def test_no_case_helps_to_answer_itself_nor_does_its_group() -> None:
    # Each group has an answer of its own, to ten cases: no other group knows it.
    cases = [
        case(10 * g + n, f"answer {g}", f"group {g}", answer_type="open")
        for g in range(6) for n in range(10)
    ]  # fmt: skip
    assert found(cases)[PRIOR].accuracy.value == 0.0


def test_of_choices_with_options_of_their_own_the_prior_is_a_letter() -> None:
    cases = []
    for n in range(30):
        options = tuple(f"{text} {n}" for text in LETTERS4)
        place = 2 if n % 3 else 0
        cases.append(case(n, options[place], options=options, answer_type="choice"))
    rows = found(cases)
    assert rows[PRIOR].accuracy.value == pytest.approx(20 / 30)
    assert (rows[CONSTANT].text, rows[CHANCE].accuracy.value) == ("C", 0.25)


def test_an_accepted_option_counts_for_chance() -> None:
    options = {"options": LETTERS4, "answer_type": "choice", "accepted": ("x",)}
    assert found([case(n, "w", **options) for n in range(3)])[CHANCE].accuracy.value == 0.5


def test_the_paragraph_is_never_right_and_its_recall_of_open_answers_is_said() -> None:
    golds = ("left lung", "a mass in the liver", "zebra")
    cases = [case(n, gold, answer_type="open") for n, gold in enumerate(golds)]
    row = found(cases)[CONSTANT]
    assert row.text != PARAGRAPH
    assert row.recall is not None
    assert row.recall.value == pytest.approx(2 / 3)
    assert row.f1 is not None
    assert row.f1.value < 0.1
    assert found(cases).keys() == {CONSTANT, PRIOR} - ({PRIOR} if len(cases) < 6 else set())


def test_cases_of_one_group_have_no_interval_but_all() -> None:
    rows = found([case(n, ("yes", "no")[n % 2], "patient") for n in range(8)])
    assert (rows[CONSTANT].accuracy.low, rows[CONSTANT].accuracy.high) == (0.0, 1.0)


def test_eval_says_where_a_policy_is_below_the_prior(capsys: pytest.CaptureFixture[str]) -> None:
    cases = "phantom,question=side:test[:8]"
    assert main(["eval", cases, "--policy", "scripted:informed,right=1"]) == 0
    out = capsys.readouterr().out
    assert "without looking" in out
    assert "below the prior" not in out
    cases = "phantom,question=size:test[:20]"
    assert main(["eval", cases, "--policy", "scripted:random", "--no-tools"]) == 0
    out = capsys.readouterr().out
    assert "scripted:random is below the prior (" in out
    assert ", which sees no image\n" in out
