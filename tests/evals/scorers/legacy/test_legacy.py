"""The rules of published harnesses, each fault with the faulty value that it gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import AnswerType, Case
from medgym.cli import main
from medgym.errors import UserError
from medgym.evals.scorers.legacy.answered import Answered
from medgym.evals.scorers.legacy.deeptumorvqa import deeptumorvqa, letter, yes_or_no
from medgym.evals.scorers.legacy.llava_med import closed_score, llava_med, precision, recall
from medgym.evals.scorers.legacy.medevalkit import extracted, is_closed, medevalkit, nearest, score
from medgym.evals.scorers.legacy.rules import RULES, legacy_rule
from medgym.registry import names
from medgym.scorer import grade


def answered(
    gold: str, text: str, kind: AnswerType = "closed", source: str = "own", **other: Any
) -> Answered:
    case = Case(
        id=f"{source}/test/0", images=(), question="?", answer=gold, answer_type=kind, group="g",
        source=source, split="test", **other,
    )  # fmt: skip
    return Answered(case, text, grade(case, text).right)


@pytest.mark.parametrize(
    ("gold", "reply", "llava", "kit"),
    [
        ("yes", "Yes", 1, 1),
        ("no", "No.", 1, 1),
        ("no", "yes", 0, 0),
        ("no", "The chest is normal", 1, 1),  # "no" in "normal": wrong
        ("no", "There is a nodule", 1, 1),  # "no" in "nodule": wrong
        ("no", "Not seen", 1, 1),
        ("yes", "yes and no", 1, 0),  # both words: right, whatever the gold
        ("no", "yes and no", 1, 0),
        ("yes", "Yes, it is not normal", 1, 0),  # XOR: "no" stands in "not"
        ("Yes", "yes", 1, 1),
        ("No", "No, there is.", 1, 0),  # the test for yes and no knows no capitals
        ("No", "The chest is normal", 1, 0),
        ("left", "left", 0, 1),  # closed, and neither yes nor no
        ("left", "Left.", 0, 1),
        ("left", "normal left", 0, 0),
    ],
)
def test_closed_answers(gold: str, reply: str, llava: float, kit: float) -> None:
    assert closed_score(answered(gold, reply)) == llava
    assert score(answered(gold, reply, source="slake")) == kit


@pytest.mark.parametrize(
    ("gold", "reply", "theirs"),
    [
        ("45 HU", "45", 1),
        ("45 HU", "45.0 HU", 1),
        ("45 HU", "In 2 phases, 45 HU", 2 / 45),  # the first number, whatever it counts
        ("5 cm", "5 mm", 1),  # units do not count
        ("5 cm", "50 mm", 0),
        ("5 cm", "4 to 6 cm", 0.8),  # a range is its first end
        ("5 cm", "between 5 and 500 cm", 1),  # so a list of numbers is its first one
        ("-60 HU", "−60 HU", 0),  # a minus sign in print is none
        ("5 cm", "<think>9</think>5", 1),
        ("5 cm", "five", 0),
        ("0", "0", 1),
        ("0", "1", 0),
    ],
)
def test_deeptumorvqas_numbers(gold: str, reply: str, theirs: float) -> None:
    found = deeptumorvqa([answered(gold, reply, "number")])
    assert found["numbers: MRA"] == found["accuracy"] == pytest.approx(theirs)
    assert found["numbers: within 20 %"] == (1 if theirs >= 0.8 else 0)


def test_deeptumorvqa_reads_letters_and_words_where_there_are_none() -> None:
    said = ("Appears normal", "Both", "Cannot determine", "Definitely B", "the answer is (B)", "?")
    assert [letter(text) for text in said] == ["A", "B", "C", "D", "B", ""]
    closed = ("normal", "Nothing seen", "there is no mass, yes", "eyes", "Yes.")
    assert [yes_or_no(text) for text in closed] == ["no", "no", "yes", "", "yes"]
    choice = answered("mass", "Appears normal", "choice", options=("mass", "cyst"))
    assert deeptumorvqa([choice]) == {"accuracy": 1.0}
    assert not grade(choice.case, choice.text).right
    closed_case = answered("no", "normal", "closed")
    assert deeptumorvqa([closed_case, answered("Liver.", "liver!", "open")]) == {"accuracy": 1.0}


def test_published_rules_know_no_lists() -> None:
    """SLAKE's lists have no order: MedEvalKit compares their text, LLaVA-Med counts their words."""
    organs, gold = "heart, spleen, liver", "Liver, Heart, Spleen"
    ordered = answered(gold, organs, "set", "slake")
    assert ordered.right
    assert score(ordered) == 0
    everything = answered(gold, "liver heart spleen kidney lung brain bladder", "set", "slake")
    assert not everything.right
    assert recall(everything.text, gold) == 1
    not_one = answered(gold, "no liver, no heart, no spleen", "set", "slake")
    assert (not_one.right, recall(not_one.text, gold)) == (False, 1)


def test_published_rules_find_a_report_in_its_contrary() -> None:
    gold = "There is a pleural effusion on the right."
    contrary = answered(gold, "There is no pleural effusion on the left or right.", "report")
    assert recall(contrary.text, gold) == pytest.approx(7 / 8)
    assert grade(contrary.case, contrary.text).score == 0


def test_llava_meds_open_score_is_recall_and_its_exact_match_is_precision() -> None:
    padded = "there is a pleural effusion and a mass and pneumonia"
    assert recall(padded, "Pleural effusion.") == 1, "padding has all words"
    assert recall("effusion", "pleural effusion") == 0.5
    assert precision("effusion", "pleural effusion") == 1, "printed as an exact match"
    assert precision(padded, "pleural effusion") == 0.2
    assert (recall("", "effusion"), precision("", "effusion")) == (0, 0)


def test_llava_med_exchanges_the_numbers_of_questions() -> None:
    answers = [
        answered("no", "normal"), answered("left", "left"), answered("yes", "yes"),
        answered("liver", "the liver", "open"),
        answered("CT", "A", "choice", options=("CT", "MR")),
    ]  # fmt: skip
    assert llava_med(answers) == {
        "open: token recall": 1.0,
        "open: printed as exact match": 0.5,
        "closed: accuracy": pytest.approx(2 / 3),
        "printed as open questions": 3,
        "printed as closed questions": 1,
        "left out: a choice": 1,
    }


def test_of_no_case_of_a_kind_there_is_no_figure() -> None:
    choices = [answered("CT", "A", "choice", options=("CT", "MR"))]
    assert set(medevalkit(choices)) == {"accuracy", "open and choice: accuracy"}
    assert not any("accuracy" in name or "recall" in name for name in llava_med(choices))
    assert not {**medevalkit([]), **deeptumorvqa([])}


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        ("B", "banded"), ("(b)", "banded"), ("B.", "banded"), ("banded", "banded"),
        ("B. banded", "banded"),
        ("Cannot determine", "banded"),  # the nearest one: a guess that may be right
        ("smoothed", "smooth"),
        ("E", "smooth"),  # no such letter: the nearest, here the first of equals
        ("", "smooth"),
    ],
)  # fmt: skip
def test_medevalkit_finds_an_option_in_any_text(reply: str, option: str) -> None:
    assert nearest(reply, ("smooth", "banded", "granular")) == option


def test_medevalkit_takes_what_is_marked() -> None:
    assert extracted("I see. <answer>A</answer> or \\boxed{B}") == "B"
    assert extracted(" yes ") == "yes"
    assert score(answered("no", "Normal? <answer>yes</answer>", source="vqa-rad")) == 0


def test_medevalkit_takes_as_closed_in_vqa_rad_what_yes_or_no_answers() -> None:
    assert is_closed(answered("left", "left"))
    assert not is_closed(answered("left", "left", source="vqa-rad"))
    assert is_closed(answered("no", "no", "open", source="vqa-rad"))


def test_medevalkit_counts_slakes_closed_answers_twice_with_a_judge() -> None:
    answers = [answered("yes", "yes", source="slake") for _ in range(3)]
    answers.append(answered("liver", "liver", "open", source="slake"))
    found = medevalkit(answers)
    assert found["accuracy"] == 1
    assert found["accuracy with a judge"] == 7 / 4, "an accuracy of 175 %"


def test_medevalkit_scores_slakes_languages_as_one() -> None:
    chinese = answered("是的", "不是", source="slake", language="zh")
    assert medevalkit([answered("yes", "yes", source="slake"), chinese])["accuracy"] == 0.5


def test_medevalkit_loses_pathvqas_closed_answers_with_a_judge() -> None:
    answers = [answered("yes", "yes", source="path-vqa") for _ in range(3)]
    answers.append(answered("liver", "liver", "open", source="path-vqa"))
    found = medevalkit(answers)
    assert (found["accuracy"], found["accuracy with a judge"]) == (1, 1 / 4)
    assert "accuracy with a judge" not in medevalkit([answered("yes", "yes")])


PARAGRAPH = "normal, with a mass"


def test_one_paragraph_is_right_by_their_rules_and_wrong_by_ours() -> None:
    each = answered("no", PARAGRAPH)
    assert (closed_score(each), score(each), each.right) == (1, 1, False)
    listed = answered("effusion", "effusion, mass, pneumonia, fracture", "open")
    assert (recall(listed.text, "effusion"), listed.right) == (1, False)


def test_no_reward_can_come_from_one() -> None:
    assert not {*RULES, *(f"legacy:{name}" for name in RULES)} & set(names("scorers"))


@pytest.mark.parametrize("name", ["llava-med", "legacy:llava", "legacy:"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="legacy"):
        legacy_rule(name)


def test_score_prints_them_beside_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "a")
    asked = ["eval", "phantom,question=presence:test[:2]", "--policy", "scripted:oracle"]
    assert main([*asked, "--out", run]) == 0
    capsys.readouterr()
    assert main(["score", run, "--scorer", "legacy:medevalkit"]) == 0
    out = capsys.readouterr().out
    assert "accuracy        100.0 % (" in out
    assert (
        "legacy:medevalkit: MedEvalKit at 9b12e3b, faults included; no verdict of medgym's" in out
    )
    assert main(["score", run, "--scorer", "legacy:llava-med", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["benchmarks"][""]
    assert found["accuracy"]["value"] == 1
    assert found["legacy:llava-med"]["rule"].startswith("LLaVA-Med 1.0")
    assert main(["score", run, "--scorer", "medevalkit"]) == 2
    assert (
        "fix: write legacy:llava-med, legacy:deeptumorvqa or legacy:medevalkit"
        in capsys.readouterr().err
    )
