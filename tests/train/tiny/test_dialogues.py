"""What the base of a consultation imitates: every role, in few tokens."""

import pytest

from medgym.cases import open_cases
from medgym.consultation.opinions import SPECIALTIES, read_opinions
from medgym.rollout import collect
from medgym.train.tiny.dialogues import Dialogues, advised, consulting, heard, spoiling
from medgym.train.tiny.tokenizer import build_tokenizer

CASES = open_cases("phantom,look=radiograph+fundus+histology,question=diagnosis:train[:60]")


@pytest.fixture(scope="module")
def lessons() -> list[Dialogues]:
    return consulting(CASES, 64)


def texts(lesson: Dialogues, count: int) -> list[str]:
    said: list[str] = []
    for _ in collect(
        lesson.cases[:count],
        lesson.policy,
        lesson.rules,
        on_messages=lambda messages: said.extend(m.text for m in messages),
    ):
        pass
    return said


def test_every_message_of_every_role_is_a_few_whole_strings(lessons: list[Dialogues]) -> None:
    pieces, pictures = heard(lessons)
    tokenizer = build_tokenizer(pieces)
    assert len(set(pictures)) > 60
    for lesson in (*lessons, *spoiling(CASES, 64)):
        for text in texts(lesson, 12):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.decode(ids) == text
            assert len(ids) <= 15


def test_opinions_are_of_the_cases_own_specialists_and_right_as_often_as_said() -> None:
    cases = advised(open_cases("phantom,look=ct,question=diagnosis:train[:300]"))
    right = []
    for case in cases:
        said = read_opinions(f"Context: {case.context}\nQuestion: {case.question}")
        assert [who for who, _ in said] == ["radiologist"] * 3
        right += [answer == case.answer for _, answer in said]
    share = 0.95 * 0.75 * 0.7 + 0.05 / 8  # no slip, not alike, right; or a slip that is right
    assert sum(right) / len(right) == pytest.approx(share, abs=0.05)


def test_opinions_of_all_specialties_come_in_any_order_and_one_of_them_knows() -> None:
    cases = advised(
        open_cases("phantom,look=ct,question=diagnosis:train[:300]"), all_specialties=True
    )
    orders, right, others = set(), [], []
    for case in cases:
        said = read_opinions(f"Context: {case.context}\nQuestion: {case.question}")
        assert sorted(who for who, _ in said) == sorted(SPECIALTIES)
        orders.add(tuple(who for who, _ in said))
        stage = case.answer.rpartition(", ")[2]
        knows = [(who == "radiologist", answer.endswith(stage)) for who, answer in said]
        right += [known for own, known in knows if own]
        others += [known for own, known in knows if not own]
    assert len(orders) > 200
    assert sum(right) / len(right) > 0.9
    assert sum(others) / len(others) == pytest.approx(0.5, abs=0.05)


def test_the_attending_of_the_dialogues_meets_both(lessons: list[Dialogues]) -> None:
    heard = [len(read_opinions(f"{case.context}\nQuestion: ")) for case in lessons[0].cases]
    assert heard == [3] * 42 + [7] * 18


def test_triage_learns_to_see_and_ends_up_guessing(lessons: list[Dialogues]) -> None:
    before, after = lessons[2], spoiling(CASES, 64)[2]
    assert before.cases[0].answer == before.cases[0].specialty
    assert "triage doctor" in before.rules.instructions
    assert (before.policy.spec, after.policy.spec) == (
        "scripted:informed,right=0.8",
        "scripted:prior",
    )
