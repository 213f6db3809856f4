"""What became of an episode: the verdict by both readings, and what is stored of it."""

from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest

from medgym.cases import Case
from medgym.errors import UserError
from medgym.evals.outcomes.figures import further, summary
from medgym.evals.outcomes.lenient import lenient_grade
from medgym.evals.outcomes.outcome import CaseOutcome, grades, outcome_of
from medgym.evals.outcomes.table import OUTCOMES, read_outcomes, write_outcomes
from medgym.trajectory import Node, Trajectory

CASE = Case(
    id="own/test/1", images=(), question="Which?", options=("smooth", "banded"), answer="banded",
    answer_type="choice", group="p1", source="own", split="test", modality="CT",
)  # fmt: skip


def case(answer: str, answer_type: str) -> Case:
    return CASE.model_copy(update={"options": (), "answer": answer, "answer_type": answer_type})


def played(*replies: str, answer: str | None = None, failure: str | None = None) -> Trajectory:
    nodes = [Node(-1, "user", "Which?")]
    for reply in replies:
        if len(nodes) > 1:
            nodes.append(Node(len(nodes) - 1, "tool", "Error: write an answer."))
        nodes.append(Node(len(nodes) - 1, "assistant", reply))
    return Trajectory(
        CASE.id, "x", 0, 0, "text", tuple(nodes), answer=answer, reward=None if failure else 0.0,
        failure=failure,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "answer", "strict", "lenient"),
    [
        ("<answer>B</answer>", "B", "right", "right"),
        ("<answer>A</answer>", "A", "wrong", "wrong"),
        ("The answer is (B).", None, "unanswered", "right"),
        ("**B. banded**", None, "unanswered", "right"),
        ("<answer>(B) banded</answer>", "(B) banded", "unparsed", "right"),
        ("The answer is A.", None, "unanswered", "wrong"),
        ("A or B", None, "unanswered", "unparsed"),
        ("", None, "unanswered", "unparsed"),
    ],
)
def test_the_lenient_reading_takes_other_forms(
    reply: str, answer: str | None, strict: str, lenient: str
) -> None:
    found = grades(CASE, played(reply, answer=answer))
    assert found[0].verdict == strict
    assert found[1].verdict == lenient
    assert found[1].score >= found[0].score


LOOK = '<tool_call>{"name": "zoom"}</tool_call>'


@pytest.mark.parametrize(
    ("replies", "verdict"),
    [
        (("The answer is B.", "I have answered already."), "right"),
        (("The answer is A.", "The answer is B.", "", "As I said."), "right"),
        (("The answer is B.", "The answer is A.", "As I said."), "wrong"),
        (("The answer is B.", "A"), "wrong"),  # the last word counts, marked or not
        (("B", "I have answered already."), "unparsed"),  # not marked
        (("The answer is B.", "The answer is neither.", "As I said."), "right"),
        (("The answer is B.", LOOK, "I see nothing new."), "unparsed"),  # it looked again
        (("The answer is B.", LOOK), "unparsed"),
        ((f"The answer is B. {LOOK}", "I cannot say."), "unparsed"),
    ],
)
def test_an_answer_of_an_earlier_reply_is_read(replies: tuple[str, ...], verdict: str) -> None:
    found = grades(CASE, played(*replies))
    assert (found[0].verdict, found[1].verdict) == ("unanswered", verdict)


def test_columns_read_the_reply_that_the_verdict_is_of() -> None:
    episode = played("The answer is 20 mm.", "I have nothing to add.")
    found = outcome_of(case("20 mm", "number"), episode)
    assert (found.lenient_verdict, found.relative_accuracy) == ("right", 1.0)
    said = played("The answer is B.", "<answer>I cannot say</answer>", answer="I cannot say")
    assert outcome_of(CASE, said).lenient_verdict == "unparsed"


def test_what_failed_is_neither_right_nor_wrong() -> None:
    broken = outcome_of(CASE, played("", failure="policy: the line is cut"))
    unreadable = outcome_of(CASE, played("", failure="image: no such file"))
    assert (broken.verdict, unreadable.verdict) == ("failed", "unreadable")
    assert not broken.is_counted
    assert not unreadable.is_counted


@pytest.mark.parametrize(
    ("gold", "answer_type", "reply", "verdict"),
    [
        ("no", "closed", "No, there is.", "right"),
        ("no", "closed", "normal", "unparsed"),
        ("no", "closed", "yes and no", "unparsed"),
        ("No", "closed", "The answer is yes.", "wrong"),
        ("4", "number", "The answer is 4.0", "right"),
        ("4", "number", "Final answer: 5", "wrong"),
        ("liver, heart", "set", "Answer: heart, liver", "right"),
        ("pleural effusion", "open", "**Pleural effusion.**", "right"),
        ("pleural effusion", "open", "There is pleural effusion in it", "wrong"),
        ("pleural effusion", "open", 'The answer is "pleural effusion".', "right"),
        ("左肺，右肺", "open", "答案：左肺，右肺", "right"),  # NFKC has no Chinese comma
        ("10²", "open", "The answer is 10²", "right"),
        ("10²", "open", "The answer is 102", "wrong"),
        ("5 µm", "open", "Answer: 5 µm", "right"),
        ("是的", "closed", "答案：是的", "right"),
        ("是的", "closed", "是的，有积液", "right"),
        ("没有", "closed", "答案是有", "wrong"),
        ("包含", "closed", "答案：包含", "right"),
        ("no", "closed", "No\n\nThe lungs are clear.", "right"),
        ("liver, heart, spleen", "set", "The answer is heart, spleen, and liver.", "right"),
        ("liver, heart", "set", "Heart and liver", "right"),
        ("liver, heart", "set", "- heart\n- liver", "right"),
        ("liver, heart", "set", "1. heart\n2. liver\n3. lung", "wrong"),
        ("liver, heart", "set", "heart and not liver", "wrong"),
        ("肝，脾", "set", "脾和肝", "right"),
    ],
)
def test_other_types_are_read_from_their_marks(
    gold: str, answer_type: str, reply: str, verdict: str
) -> None:
    assert lenient_grade(case(gold, answer_type), reply).verdict == verdict


def test_an_option_whose_text_is_a_letter_is_graded_by_its_place() -> None:
    letters = CASE.model_copy(update={"options": ("B", "C", "D", "E"), "answer": "B"})
    assert lenient_grade(letters, "The answer is A").right
    assert not lenient_grade(letters, "The answer is B").right


PARAGRAPH = (
    "Yes, no. The image shows a normal chest with no effusion on the left or right, a mass, "
    "pneumonia, 4 cm, liver, heart, smooth, banded, A, B."
)


@pytest.mark.parametrize(
    ("gold", "answer_type"),
    [("yes", "closed"), ("no", "closed"), ("4 cm", "number"), ("liver, heart", "set"),
     ("pneumonia", "open"), ("normal", "open"), ("a mass", "report")],
)  # fmt: skip
def test_no_constant_paragraph_is_right(gold: str, answer_type: str) -> None:
    assert not lenient_grade(case(gold, answer_type), PARAGRAPH).right
    assert not lenient_grade(CASE, PARAGRAPH).right


def outcomes() -> list[CaseOutcome]:
    right = outcome_of(CASE, played("<answer>B</answer>", answer="B"))
    wrong = outcome_of(CASE, played("The answer is B"))
    broken = outcome_of(CASE, played("", failure="policy: cut"))
    return [right, replace(wrong, case="own/test/2"), replace(broken, case="own/test/3")]


def test_outcomes_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_outcomes(tmp_path) is None
    write_outcomes(tmp_path, outcomes())
    assert read_outcomes(tmp_path) == outcomes()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_damaged_table_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / OUTCOMES).write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read .*; fix: run medgym score"):
        read_outcomes(tmp_path)


OPEN = case("pleural effusion", "open")


@pytest.mark.parametrize(
    ("reply", "answer", "recall", "f1"),
    [
        ("<answer>pleural effusion</answer>", "pleural effusion", 1.0, 1.0),
        ("<answer>effusion</answer>", "effusion", 0.5, 2 / 3),
        ("I looked. The answer is pleural effusion.", None, 1.0, 1.0),
        ("It is a left pleural effusion", None, 1.0, 4 / 7),
        ("", None, 0.0, 0.0),
    ],
)
def test_an_open_answer_has_its_recall_and_its_f1(
    reply: str, answer: str | None, recall: float, f1: float
) -> None:
    found = outcome_of(OPEN, played(reply, answer=answer))
    assert (found.recall, found.f1) == (pytest.approx(recall), pytest.approx(f1))


def test_only_open_cases_have_them(tmp_path: Path) -> None:
    for other in (CASE, case("yes", "closed"), case("4", "number"), case("a, b", "set")):
        assert outcome_of(other, played("<answer>x</answer>", answer="x")).f1 is None
    assert outcome_of(OPEN, played("", failure="policy: cut")).f1 is None
    assert "open, exact" not in summary(outcomes())
    half = outcome_of(OPEN, played("<answer>effusion</answer>", answer="effusion"))
    whole = outcome_of(OPEN, played("", answer="pleural effusion"))
    mixed = [*outcomes(), half, replace(whole, case="own/test/9", group="p2")]
    told = summary(mixed)
    assert told["open, exact"]["value"] == 0.5
    assert told["open, token F1"]["value"] == pytest.approx(5 / 6)
    recall = told["open, token recall (padding raises it)"]
    assert recall["value"] == 0.75
    assert 0 <= recall["low"] <= 0.75 <= recall["high"] <= 1
    assert recall["n"] == 2
    assert further(mixed)["open, token F1"].value == pytest.approx(5 / 6)  # type: ignore[union-attr]
    write_outcomes(tmp_path, mixed)
    kept = read_outcomes(tmp_path)
    assert kept is not None
    assert summary(kept)["open, token F1"] == told["open, token F1"]


def test_numbers_have_their_relative_accuracy() -> None:
    size = case("10 mm", "number")
    replies = ("9.5", "1.2 cm", "The answer is 10 mm", "none")
    found = [
        outcome_of(size, played(reply, answer=None if "The" in reply else reply))
        for reply in replies
    ]
    assert [each.relative_accuracy for each in found] == pytest.approx([0.95, 0.8, 1, 0])
    told = summary([replace(each, group=f"p{n}") for n, each in enumerate(found)])
    assert told["number, relative accuracy"]["value"] == pytest.approx(2.75 / 4)
    assert told["number, within 10 %"]["value"] == 0.5
    assert outcome_of(CASE, played("A", answer="A")).relative_accuracy is None
    assert "number, relative accuracy" not in summary(outcomes())


def test_a_table_that_an_older_version_wrote_is_read(tmp_path: Path) -> None:
    import pyarrow.parquet

    write_outcomes(tmp_path, outcomes())
    table = pyarrow.parquet.read_table(tmp_path / OUTCOMES)
    pyarrow.parquet.write_table(table.drop(["recall", "f1"]), tmp_path / OUTCOMES)
    assert read_outcomes(tmp_path) == outcomes()


def test_the_summary_counts_every_verdict() -> None:
    found = summary(outcomes())
    assert found["accuracy"]["n"] == 2
    assert found["accuracy"]["value"] == 0.5
    assert found["read leniently"]["value"] == 1.0
    assert found["verdicts"] == {
        "right": 1, "wrong": 0, "unparsed": 0, "unanswered": 1, "unreadable": 0, "failed": 1,
    }  # fmt: skip
    assert found["groups"] == 1
    assert "pass@1" not in further(outcomes())


def test_cases_without_a_group_are_independent() -> None:
    several = [
        replace(outcomes()[0], case=f"own/test/{number}", group="", verdict=verdict)
        for number, verdict in enumerate(["right", "wrong"] * 10)
    ]
    found = summary(several)
    assert found["groups"] == 20
    assert 0.2 < found["accuracy"]["low"] < found["accuracy"]["high"] < 0.8


@pytest.mark.parametrize("kind", ["open", "number", "closed", "set"])
@pytest.mark.parametrize(
    "reply",
    [
        f"the heart{' ' * 100_000}is large",
        f"{'1' * 100_000},",
        f"confidence: {'1' * 100_000}.1.1",
        f"final answer{chr(10) * 100_000}",
    ],
    ids=["blanks", "digits", "confidence", "lines"],
)
def test_a_long_reply_takes_no_more_time_than_it_is_long(reply: str, kind: str) -> None:
    gold = {"open": "banded", "number": "12 mm", "closed": "yes", "set": "a, b"}[kind]
    start = process_time()
    for answer in (None, reply):
        outcome_of(case(gold, kind), played(reply, answer=answer))
    assert process_time() - start < 10  # it was minutes


def test_a_power_is_not_read_as_a_longer_number() -> None:
    assert lenient_grade(case("12 mm", "number"), "1\u00b2 mm").verdict != "right"
    assert lenient_grade(case("12 mm\u00b2", "number"), "It is: 12 mm\u00b2").verdict == "unparsed"
    assert lenient_grade(case("12 mm\u00b2", "number"), "The answer is 12 mm\u00b2").right


@pytest.mark.parametrize(
    ("gold", "answer_type", "answers"),
    [
        ("banded", "choice", ("B", "banded", "b.")),
        ("12 mm", "number", ("12", "1.2 cm", "12.0 mm")),
        ("liver, heart", "set", ("liver, heart", "heart; liver", "Heart, liver")),
        ("no", "closed", ("no", "No.", " NO ")),
    ],
)
def test_answers_that_say_the_same_are_one_vote(
    gold: str, answer_type: str, answers: tuple[str, ...]
) -> None:
    asked = CASE if answer_type == "choice" else case(gold, answer_type)
    given = [*answers, *["smooth"] * 2]  # more often than any spelling of what is right
    several = [
        outcome_of(asked, replace(played(f"<answer>{said}</answer>", answer=said), member=member))
        for member, said in enumerate(given)
    ]
    assert summary(several)["majority@5"] == 1.0
