"""The scorers that ship: what is right, what is wrong, and what cannot be read."""

import unicodedata
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medgym.cases import AnswerType, Case, Region
from medgym.errors import UserError
from medgym.evals.scorers.number import relative_accuracy
from medgym.registry import names
from medgym.scorer import Grade, check_gold, grade, load_scorer


def a_case(answer: str, kind: AnswerType, **other: Any) -> Case:
    return Case(
        id="a/test/0", images=(), question="?", answer=answer, answer_type=kind, group="g",
        source="a", split="test", **other,
    )  # fmt: skip


def verdict(case: Case, answer: str) -> str:
    found = grade(case, answer)
    assert found.score == float(found.right)
    return found.verdict


def test_each_type_of_answer_has_a_scorer() -> None:
    assert set(get_args(AnswerType)) <= set(names("scorers"))
    for kind in get_args(AnswerType):
        assert load_scorer(kind).version


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("B", "right"), ("b", "right"), ("b.", "right"), (" B ", "right"), ("no tumour", "right"),
        ("No  Tumour.", "right"), ("A", "wrong"), ("tumour", "wrong"), ("no", "unparsed"),
        ("B. no tumour", "unparsed"), ("A B", "unparsed"), ("", "unparsed"), ("not", "unparsed"),
        ("AB", "unparsed"), ("C", "unparsed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["choice", "closed", "open"])
def test_an_option_is_named_by_its_letter_or_its_text(
    kind: AnswerType, reply: str, expected: str
) -> None:
    case = a_case("no tumour", kind, options=("tumour", "no tumour"))
    assert verdict(case, reply) == expected


@pytest.mark.parametrize("kind", ["choice", "closed", "open", "region", "report", "set"])
@pytest.mark.parametrize(
    "answer", ["Gro\u0308\u00dfe; ph\u00f4\u0309i", "ph\u1ed5i; gr\u00f6\u00dfe"]
)
def test_a_letter_and_its_accent_may_be_one_character_or_two(kind: AnswerType, answer: str) -> None:
    gold = unicodedata.normalize("NFC", answer)
    given = unicodedata.normalize("NFD", answer)
    options = (gold, "leer") if kind == "choice" else ()
    assert gold != given
    assert verdict(a_case(gold, kind, options=options), given) == "right"


@pytest.mark.parametrize("kind", ["choice", "closed", "open", "region"])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("normal", "right"), ("NORMAL.", "right"), (" normal  ", "right"), ("abnormal", "wrong"),
        ("the normal", "wrong"), ("", "unparsed"), (" . ", "unparsed"),
    ],
)  # fmt: skip
def test_text_without_options_must_be_the_gold_text(
    kind: AnswerType, reply: str, expected: str
) -> None:
    assert verdict(a_case("Normal.", kind), reply) == expected


@pytest.mark.parametrize(
    ("gold", "reply", "expected"),
    [
        ("12", "12", "right"), ("12", "12.0", "right"), ("12", " 12. ", "right"),
        ("12", "1.2e1", "right"), ("0.5", ".5", "right"), ("-3", "-3", "right"),
        ("12", "13", "wrong"), ("12", "-12", "wrong"), ("12", "12.1", "wrong"),
        ("12 mm", "12", "right"), ("12 mm", "12 MM", "right"), ("12mm", "12.0 mm", "right"),
        ("12 mm", "12 cm", "wrong"), ("12", "12 mm", "wrong"), ("40 %", "40%", "right"),
        ("12", "about 12", "unparsed"), ("12", "12 13", "unparsed"), ("12", "12-14", "unparsed"),
        ("12", "1,200", "unparsed"), ("12", "", "unparsed"), ("12", "twelve", "unparsed"),
        ("12", "nan", "unparsed"), ("12", "1e999", "unparsed"),
    ],
)  # fmt: skip
def test_a_number_is_compared_as_a_number(gold: str, reply: str, expected: str) -> None:
    assert verdict(a_case(gold, "number"), reply) == expected


@pytest.mark.parametrize(
    ("gold", "tolerance", "reply", "expected"),
    [
        ("10 mm", None, "10.4", "wrong"), ("10 mm", 0.5, "10.4", "right"),
        ("10 mm", 0.5, "1.05 cm", "right"), ("10 mm", 0.5, "9.5 mm", "right"),
        ("10 mm", 0.5, "10.51 mm", "wrong"), ("10 mm", 0.5, "10.4 cm", "wrong"),
        ("10 mm", 0.5, "9.5-10.5 mm", "unparsed"), ("-3", 1, "-4", "right"),
        ("-3", 1, "-1.9", "wrong"), ("0", 0, "0.0", "right"), ("0", 0, "1e-9", "wrong"),
    ],
)  # fmt: skip
def test_a_case_may_tolerate_a_difference(
    gold: str, tolerance: float | None, reply: str, expected: str
) -> None:
    assert verdict(a_case(gold, "number", tolerance=tolerance), reply) == expected


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf"), "much"])
def test_a_tolerance_is_a_number_from_0_on(tolerance: object) -> None:
    with pytest.raises(ValidationError, match="tolerance"):
        a_case("10", "number", tolerance=tolerance)


@pytest.mark.parametrize(
    ("gold", "reply", "expected"),
    [
        ("10 mm", "10", 1), ("10 mm", "9 mm", 0.9), ("10 mm", "1.2 cm", 0.8), ("10 mm", "25", 0),
        ("10 mm", "-10", 0), ("-50 HU", "-40", 0.8), ("0", "0", 1), ("0", "0.1", 0),
        ("10 mm", "10 ml", 0), ("10 mm", "none", 0), ("10 mm", "", 0),
        ("10 mm", "In 2 phases, 10 mm", 0),  # DeepTumorVQA reads the 2
    ],
)  # fmt: skip
def test_relative_accuracy_is_that_of_deeptumorvqa(gold: str, reply: str, expected: float) -> None:
    assert relative_accuracy(a_case(gold, "number"), reply) == pytest.approx(expected)


def test_the_nearest_gold_gives_the_relative_accuracy() -> None:
    assert relative_accuracy(a_case("10", "number", accepted=("20",)), "18") == pytest.approx(0.9)


def test_a_gold_that_is_not_a_number_is_named() -> None:
    with pytest.raises(UserError, match=r"a/test/0 is 'many'.*fix: write a number"):
        grade(a_case("many", "number"), "12")
    with pytest.raises(UserError, match=r"a/test/0 is 'many'.*fix: write a number"):
        check_gold(a_case("many", "number"))
    with pytest.raises(UserError, match=r"a/test/0 is 'some'.*fix: write a number"):
        check_gold(a_case("12", "number", accepted=("some",)))
    for gold, kind in (("12 mm", "number"), ("many", "open"), ("many", "region")):
        check_gold(a_case(gold, kind))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("oedema, effusion", "right"), ("Effusion; oedema.", "right"),
        ("effusion,effusion,oedema", "right"), ("effusion", "wrong"),
        ("effusion, oedema, nodule", "wrong"), ("effusion oedema", "wrong"), (" , ;", "unparsed"),
    ],
)  # fmt: skip
def test_a_set_has_no_order(reply: str, expected: str) -> None:
    assert verdict(a_case("Effusion, oedema", "set"), reply) == expected


@pytest.mark.parametrize(
    ("reply", "score", "expected"),
    [
        ("[0, 0, 100, 100]", 1.0, "right"),
        ("[0,0,100.0,50]", 0.5, "right"),
        ("[0, 0, 100, 49]", 0.49, "wrong"),
        ("[50, 0, 150, 100]", 1 / 3, "wrong"),
        ("[200, 200, 300, 300]", 0.0, "wrong"),
        ("[100, 100, 0, 0]", 0.0, "unparsed"),
        ("0, 0, 100, 100", 0.0, "unparsed"),
        ("[0, 0, 100]", 0.0, "unparsed"),
        ("[0, 0, 1e99, 1e99]", 0.0, "unparsed"),
        ("the left lung", 0.0, "unparsed"),
    ],
)
def test_a_box_is_right_from_half_overlap_on(reply: str, score: float, expected: str) -> None:
    found = grade(a_case("[0, 0, 100, 100]", "region"), reply)
    assert (found.score, found.verdict) == (pytest.approx(score), expected)


ACCEPTED: list[tuple[AnswerType, str, tuple[str, ...], dict[str, str]]] = [
    ("open", "pneumothorax", ("air in the pleura",), {
        "Pneumothorax.": "right", "AIR in the pleura": "right", "air": "wrong", "": "unparsed",
    }),
    ("closed", "是的", ("是", "包含"), {"包含": "right", "是": "right", "不是": "wrong"}),
    ("closed", "yes", (), {"yes": "right", "normal": "wrong", "no": "wrong"}),
    ("report", "No finding.", ("Normal chest.",), {"normal chest": "right", "chest": "wrong"}),
    ("number", "2 cm", ("20 mm",), {
        "20": "right", "2": "right", "2.0 CM": "right", "2 mm": "wrong",
    }),
    ("set", "肝脏、心脏、脾脏", (), {
        "脾脏，肝脏；心脏": "right", "心脏,肝脏;脾脏": "right",
        "肝脏、心脏": "wrong", "、": "unparsed",
    }),
    ("set", "Liver, Heart", ("Hepar; Cor",), {"cor, hepar": "right", "liver, cor": "wrong"}),
    ("region", "[0, 0, 10, 10]", ("[20, 20, 30, 30]",), {
        "[0, 0, 10, 10]": "right", "[20, 20, 30, 30]": "right", "[0, 0, 30, 30]": "wrong",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "gold", "accepted", "replies"), ACCEPTED)
def test_what_a_case_accepts_is_as_right_as_its_gold(
    kind: AnswerType, gold: str, accepted: tuple[str, ...], replies: dict[str, str]
) -> None:
    case = a_case(gold, kind, accepted=accepted)
    assert {reply: grade(case, reply).verdict for reply in replies} == replies


def test_a_choice_may_have_several_right_options() -> None:
    case = a_case("CT", "choice", options=("CT", "MR", "PET", "X-ray"), accepted=("PET",))
    verdicts = {reply: verdict(case, reply) for reply in ("A", "c", "pet", "B", "A, C", "E")}
    assert [reply for reply, found in verdicts.items() if found == "right"] == ["A", "c", "pet"]
    assert (verdicts["B"], verdicts["A, C"], verdicts["E"]) == ("wrong", "unparsed", "unparsed")


def test_equal_options_are_right_or_wrong_together() -> None:
    case = a_case("yes.", "choice", options=("Yes", "no", "yes.", "No"))
    assert [verdict(case, letter) for letter in "ABCD"] == ["right", "wrong", "right", "wrong"]
    assert (verdict(case, "YES"), verdict(case, "no")) == ("right", "wrong")


@pytest.mark.parametrize(
    ("kind", "options", "gold", "right", "wrong"),
    [
        # A letter is a letter, also where the text of another option is that letter.
        ("choice", ("B", "C", "D", "E"), "B", "A", "B"),
        # Without options nothing is a letter.
        ("open", (), "C", "C", "A"),
        ("open", (), "2", "2", "two"),
        ("open", (), "None", "none", "nothing"),
        ("choice", ("None", "one"), "None", "None", "one"),
    ],
)
def test_letters_that_are_texts(
    kind: AnswerType, options: tuple[str, ...], gold: str, right: str, wrong: str
) -> None:
    case = a_case(gold, kind, options=options)
    assert (verdict(case, right), verdict(case, wrong)) == ("right", "wrong")


@given(st.text())
@pytest.mark.parametrize("kind", get_args(AnswerType))
def test_no_answer_breaks_a_scorer(kind: AnswerType, reply: str) -> None:
    gold = {"number": "12 mm", "region": "[0, 0, 5, 5]"}.get(kind, "yes")
    region = Region(label="x", box_px=(0, 0, 5, 5))
    assert isinstance(grade(a_case(gold, kind, regions=(region,)), reply), Grade)
