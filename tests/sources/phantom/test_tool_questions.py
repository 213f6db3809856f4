"""The questions that need `measure` or `retrieve`: gold, balance, and what may not be known."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from medgym.cases import Case, open_cases
from medgym.imaging.study import ImageRef, open_image
from medgym.sources.phantom import rules, tool_check
from medgym.sources.phantom.balance import CheckRow
from medgym.sources.phantom.check import check_phantoms
from medgym.sources.phantom.modalities import APPEARANCES
from medgym.sources.phantom.rules import RULE_STAGES, SHARES, passages, rules_of
from medgym.sources.phantom.source import FROM_PIXELS, PhantomPlan, plan_of
from medgym.sources.phantom.tool_questions import needed_tool, question_name, range_ends, rule_of

CASES = "phantom,look=radiograph,size=256,question=length+stage"


def test_the_default_questions_are_those_that_the_image_answers() -> None:
    assert FROM_PIXELS == ("kind", "side", "presence", "size")


def test_the_series_that_experiments_stand_on() -> None:
    cases = open_cases("phantom,look=radiograph,question=kind+length+stage:test[:3]")
    assert [(case.id, case.answer) for case in cases] == [
        ("phantom/test/radiograph-512-kind-1", "granular"),
        ("phantom/test/radiograph-512-length-1", "over 99 mm"),
        ("phantom/test/radiograph-512-stage-1", "stage IV"),
    ]
    assert cases[2].question == "Which stage is the lesion by the rule Buzzard Slate?"
    assert open_image(cases[1].images[0]).spacing_mm == pytest.approx((5.889, 5.889), abs=1e-3)


@pytest.mark.parametrize("look", APPEARANCES)
def test_a_length_is_that_of_the_lesion_at_the_scale_of_the_case(look: str) -> None:
    for case in open_cases(f"phantom,look={look},size=256,question=length:train[:48]"):
        plan, (x0, y0, x1, y1) = plan_of(case.images[0]), case.regions[0].box_px
        length = max(x1 - x0, y1 - y0) * plan.spacing_mm
        assert length == pytest.approx(plan.length_mm)
        place = sum(length > end for end in range_ends(look))
        assert case.answer == case.options[place]
        # A quarter too much or too little is the same answer.
        assert all(sum(length * f > end for end in range_ends(look)) == place for f in (0.75, 1.33))
        assert not case.context


def test_the_pixels_are_those_of_the_phantom_of_that_number() -> None:
    (case,) = open_cases("phantom,look=ct,size=256,question=length:test[5:6]")
    uri = case.images[0].uri
    assert uri.endswith("/scaled")
    plain = case.images[0].model_copy(update={"uri": uri.removesuffix("/scaled")})
    own, other = open_image(case.images[0]), open_image(plain)
    assert own.spacing_mm != other.spacing_mm
    assert (own.pixels == other.pixels).all()


def test_answers_are_balanced_exactly() -> None:
    for question in ("length", "stage"):
        cases = open_cases(f"phantom,look=ct,question={question}:train[240:480]")
        assert set(Counter(case.answer for case in cases).values()) == {60}


def test_splits_share_no_rule_and_every_word_is_in_the_rules_of_training() -> None:
    names = [rule.name for split in SHARES for rule in rules_of(split)]
    assert len(set(names)) == len(names) == 320
    words = {word for rule in rules_of("train") for word in rule.words}
    assert words == {*rules.FIRST_WORDS, *rules.SECOND_WORDS}
    for split, count in SHARES.items():
        stages = Counter(rule.stage for rule in rules_of(split))
        assert set(stages.values()) == {count // len(RULE_STAGES)}
    for case in open_cases("phantom,look=ct,question=stage:validation[:30]"):
        rule = rule_of(plan_of(case.images[0]))
        assert rule in rules_of("validation")
        assert case.question.endswith(f" {rule.name}?")
        assert case.answer == rule.stage


def test_the_passages_that_ship_say_the_rules() -> None:
    shipped = rules.PASSAGES.read_text("utf-8").splitlines()
    assert [json.loads(line) for line in shipped] == passages()


def test_which_tool_a_case_needs() -> None:
    spec = "phantom,size=256,look=ct,question=kind+length+stage+side+presence+size:test[:6]"
    tools = [needed_tool(case) for case in open_cases(spec)]
    assert tools == ["zoom", "measure", "retrieve", None, None, None]
    (volume,) = open_cases("phantom,look=ct-volume,question=kind,size=128,depth=8:test[:1]")
    assert needed_tool(volume) is None
    (kind,) = open_cases("phantom,size=256,look=ct,question=kind:test[:1]")
    elsewhere = (ImageRef(uri="file.png"),)
    for other in ({"source": "other"}, {"id": "1"}, {"images": ()}, {"images": elsewhere}):
        assert needed_tool(kind.model_copy(update=other)) is None


def test_what_is_right_passes_the_check() -> None:
    report = check_phantoms(open_cases(f"{CASES}:test[:12]"), view_sizes=(64,), probe=False)
    assert report.passed
    said = " | ".join(row.check for row in report.rows)
    for check in ("answers to length", "answers to stage", "no overview shows the scale",
                  "the passages say the stage", "splits share no rule", "the rules of training",
                  "the length does not go with the lesion's size in pixels",
                  "the stage does not go with the lesion's kind"):  # fmt: skip
        assert check in said


@pytest.mark.parametrize("look", APPEARANCES)
def test_answers_go_with_nothing_that_an_image_shows(look: str) -> None:
    assert {row.verdict for row in alone(look, lambda case, plan: case.answer)} == {"pass"}


def test_lengths_that_go_with_the_size_in_pixels_are_caught() -> None:
    rows = alone("radiograph", lambda case, plan: case.options[plan.length - 2])
    assert [row.check for row in rows if row.verdict == "fail"] == [
        "the length does not go with the lesion's size in pixels"
    ]


def alone(look: str, answer: Callable[[Case, PhantomPlan], str]) -> list[CheckRow]:
    asked = []
    for case in open_cases(f"phantom,look={look},size=256,question=length:test[:96]"):
        plan = plan_of(case.images[0])
        asked.append((case.model_copy(update={"answer": answer(case, plan)}), plan))
    return list(tool_check.answer_rows("length", asked, asked[0][0].options))


def failed(cases: Any) -> str:
    report = check_phantoms(cases, view_sizes=(64,), probe=False)
    return " | ".join(f"{r.check}: {r.fix}" for r in report.rows if r.verdict == "fail")


def changed(fix: Callable[[Case], Case], count: int = 4) -> list[Case]:
    return [fix(case) for case in open_cases(f"{CASES}:test[:{count}]")]


def test_an_answer_of_another_length_is_caught() -> None:
    def other(case: Case) -> Case:
        if question_name(case) != "length":
            return case
        place = case.options.index(case.answer)
        return case.model_copy(update={"answer": case.options[place - 1]})

    assert "gold agrees" in failed(changed(other))


def test_a_scale_that_is_stated_is_caught() -> None:
    said = failed(changed(lambda case: case.model_copy(update={"context": "352 mm wide"})))
    assert "no overview shows the scale" in said


def test_a_scale_that_is_drawn_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = PhantomPlan.draw

    def with_a_bar(self: PhantomPlan) -> Any:
        pixels = draw(self)
        pixels[:2, : round(10 / self.spacing_mm)] = 0
        return pixels

    monkeypatch.setattr(PhantomPlan, "draw", with_a_bar)
    assert "no overview shows the scale" in failed(open_cases(f"{CASES}:test[:2]"))


def test_a_stage_that_no_passage_says_is_caught(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    text = rules.PASSAGES.read_text("utf-8").replace("of stage", "of the stage")
    (tmp_path / "rules.jsonl").write_text(text)
    monkeypatch.setattr(rules, "PASSAGES", tmp_path / "rules.jsonl")
    assert "the passages say the stage" in failed(open_cases(f"{CASES}:test[:8]"))


def test_rules_of_two_splits_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_check, "rules_of", lambda split: rules_of("test"))
    said = failed(open_cases(f"{CASES}:test[:2]"))
    assert "splits share no rule" in said
    assert "the rules of training" in said  # who has read them knows the others
