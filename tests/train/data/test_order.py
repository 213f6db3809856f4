"""The order of training is fixed by the seed, and a balanced one forgets no answer."""

from collections import Counter

from medgym import open_cases
from medgym.train.data.order import GoldCases, ordered

CASES = "phantom,look=radiograph,question=kind:train[:120]"


def test_the_seed_fixes_the_order() -> None:
    cases = open_cases(CASES)
    for kind in ("shuffled", "balanced"):
        first = [case.id for case in ordered(cases, kind, 0)]
        assert first == [case.id for case in ordered(cases, kind, 0)]
        assert first != [case.id for case in ordered(cases, kind, 1)]
        assert len(set(first)) == len(first)


def test_shuffled_keeps_every_case() -> None:
    cases = open_cases(CASES)
    assert {c.id for c in ordered(cases, "shuffled", 0)} == {c.id for c in cases}


def test_balanced_deals_every_answer_once_a_round() -> None:
    dealt = ordered(open_cases(CASES), "balanced", 0)
    answers = {case.answer for case in dealt}
    size = len(answers)
    for start in range(0, len(dealt), size):
        assert Counter(c.answer for c in dealt[start : start + size]) == Counter(answers)


def test_the_cases_of_a_specialty_keep_their_order() -> None:
    spec = "phantom,look=radiograph+fundus+histology,question=diagnosis:train[:30]"
    dealt = ordered(GoldCases(spec), "shuffled", 0)
    own = dealt.of_specialty("pathologist")
    assert [case.id for case in own] == [c.id for c in dealt if c.specialty == "pathologist"]
    assert 0 < len(own) < len(dealt)
