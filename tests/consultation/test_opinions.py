"""The words of a consultation: what each role is asked, and how its answers are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.cases import Case, CaseView, open_cases
from medgym.consultation.opinions import (
    SPECIALTIES,
    Opinion,
    advised_case,
    chosen,
    opinion_of,
    read_opinions,
    triage_case,
)
from medgym.imaging.study import ImageRef
from medgym.trajectory import Look

CASE = open_cases("phantom,look=histology,question=diagnosis:test")[0]


def test_triage_is_asked_for_the_specialty_and_told_the_question() -> None:
    asked = triage_case(CASE, SPECIALTIES)
    assert asked.options == SPECIALTIES
    assert asked.answer == CASE.specialty == "pathologist"
    assert CASE.question in asked.context
    assert asked.images == CASE.images
    assert asked.id == CASE.id
    assert CASE.answer not in (asked.answer, asked.context, asked.question)


def test_without_the_cases_specialty_no_choice_is_right() -> None:
    asked = triage_case(CASE.model_copy(update={"specialty": None}), SPECIALTIES)
    assert asked.answer not in asked.options


@pytest.mark.parametrize(
    ("answer", "most", "named"),
    [
        ("A", 1, ("pathologist",)),
        ("radiologist", 1, ("radiologist",)),
        ("A, C", 2, ("pathologist", "surgeon")),
        ("A; A", 1, ("pathologist",)),
        ("A, B", 1, ()),
        ("A, dentist", 3, ()),
        ("", 1, ()),
        (None, 1, ()),
    ],
)
def test_a_choice_names_known_specialties_or_nobody(
    answer: str | None, most: int, named: tuple[str, ...]
) -> None:
    assert chosen(answer, SPECIALTIES, most) == named


def test_an_answer_that_names_no_option_is_no_opinion() -> None:
    assert opinion_of(CASE, "pathologist", "B").answer == CASE.options[1]
    assert opinion_of(CASE, "pathologist", "B or C").answer is None
    assert opinion_of(CASE, "pathologist", None).answer is None
    assert opinion_of(CASE, "pathologist", None).line() == "- pathologist: no answer"


_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.tuples(st.sampled_from(SPECIALTIES), st.sampled_from(CASE.options), _WORDS)))
def test_opinions_are_read_back_as_they_were_shown(said: list[tuple[str, str, str]]) -> None:
    case = advised_case(CASE, [Opinion(*each) for each in said])
    shown = f"View 0\nContext: {case.context}\nQuestion: {case.question}\nOptions:\nA. x"
    assert read_opinions(shown) == [(who, answer) for who, answer, _ in said]


def test_opinions_stand_behind_the_cases_own_context() -> None:
    case = Case(
        id="a/b/c", images=(ImageRef(uri="a:0"),), question="?", context="Cough.", answer="yes",
        group="g", source="a", split="b",
    )  # fmt: skip
    assert advised_case(case, []).context == "Cough.\nOpinions: none"
    text = advised_case(case, [opinion_of(case, "surgeon", "a  b\nc", "one\ntwo")]).context
    assert text == "Cough.\nOpinions:\n- surgeon: a b c (because: one two)"


def test_the_attending_starts_with_where_specialists_looked_last_each_place_once() -> None:
    places = [(0.0, 0.0, 9.0, 9.0), (4.0, 4.0, 8.0, 8.0), (1.0, 1.0, 3.0, 3.0)]
    looks = [Look("zoom", 0, place) for place in places]
    said = [
        opinion_of(CASE, "radiologist", "A", looks=looks[:2]),
        opinion_of(CASE, "surgeon", "A"),
        opinion_of(CASE, "pathologist", "A", looks=looks[1:2]),
        opinion_of(CASE, "oncologist", "A", looks=looks[2:]),
    ]
    shown = CaseView(image=0, box_px=places[1], by="radiologist")
    assert advised_case(CASE, said).views == ()
    assert advised_case(CASE, said, 1).views == (shown,)
    last = CaseView(image=0, box_px=places[2], by="oncologist")
    assert advised_case(CASE, said, 4).views == (shown, last)
