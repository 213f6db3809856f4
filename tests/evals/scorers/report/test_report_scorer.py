"""Verdicts and scores of reports: statements, sizes, sides, languages, and what is read of none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from medgym.cases import Case
from medgym.evals.scorers.report.language import language_of, written_in
from medgym.scorer import grade

TABLE = Path(__file__).with_name("verdicts.txt")
BLANK = ("", " ", ".", " . ", "。", "\n\t", "...", "\u3000")


def a_report(gold: str, *accepted: str, language: str = "en") -> Case:
    return Case(
        id="a/test/0", images=(), question="?", answer=gold, accepted=accepted, group="g",
        answer_type="report", source="a", split="test", language=language,
    )  # fmt: skip


def table() -> Iterator[tuple[tuple[str, ...], list[tuple[str, int, str]]]]:
    golds: tuple[str, ...] = ()
    rows: list[tuple[str, int, str]] = []
    for line in TABLE.read_text("utf-8").splitlines():
        if line.startswith("= "):
            if golds:
                yield golds, rows
            golds, rows = tuple(line[2:].split(" || ")), []
        elif not line.startswith("#"):
            verdict, score, text = line.split(" ", 2)
            rows.append((verdict, int(score), text))
    yield golds, rows


@pytest.mark.parametrize(("golds", "rows"), list(table()), ids=lambda value: str(value[0])[:20])
def test_every_report_gets_its_verdict_and_its_score(
    golds: tuple[str, ...], rows: list[tuple[str, int, str]]
) -> None:
    case = a_report(*golds)
    found = []
    for _, _, text in rows:
        graded = grade(case, text)
        found.append((graded.verdict, round(100 * graded.score), text))
    assert found == rows
    assert {grade(case, blank).verdict for blank in BLANK} == {"unparsed"}


def test_the_table_is_large() -> None:
    assert sum(len(rows) + len(BLANK) for _, rows in table()) >= 200


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("No acute finding.", "en"),
        ("Ödem im rechten Unterlappen", "en"),
        ("Tim không to. Không tràn dịch màng phổi.", "vi"),
        ("双肺未见异常。", "zh"),
        ("CT 双肺未见异常 CT", "zh"),
        ("肺に異常なし。", "ja"),
        ("폐에 이상 없음", "ko"),
        ("ปอดปกติ", "th"),
        ("", "en"),
    ],
)
def test_a_report_in_another_language_is_not_taken_for_english(text: str, language: str) -> None:
    assert written_in(text) == language
    assert language_of(a_report(text or "x")) == language


def test_a_case_that_says_its_language_is_believed() -> None:
    assert language_of(a_report("Normal.", language="de")) == "de"
    assert language_of(a_report("Normal.", language="zh-CN")) == "zh"
    german = a_report("No effusion. The heart is normal.", language="de")
    assert grade(german, "The heart is normal. No effusion.").right
    assert grade(german, "No effusion. Normal heart.").score == 0.5  # no English is read
    assert grade(a_report("No effusion. The heart is normal."), "No effusion. Normal heart.").right


NORMAL_TEMPLATE = (
    "The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax. "
    "No acute osseous abnormality."
)
STUDIES = (
    "Heart size is normal. The lungs are clear. No effusion.",
    "The heart is enlarged. There is mild pulmonary edema. Small left pleural effusion.",
    "Right lower lobe consolidation, likely pneumonia. No effusion or pneumothorax.",
    "Stable 8 mm nodule in the left upper lobe. Otherwise the lungs are clear.",
    "Lungs are hyperinflated. Degenerative changes of the thoracic spine.",
)


def test_a_template_of_a_normal_report_is_never_right_and_earns_less_than_reading() -> None:
    everything = " ".join(
        f"{there} {finding}." for finding in ("effusion", "pneumothorax", "consolidation", "mass")
        for there in ("There is", "No", "Possible")
    )  # fmt: skip
    scores = {}
    for name, constant in (("template", NORMAL_TEMPLATE), ("everything", everything)):
        graded = [grade(a_report(gold), constant) for gold in STUDIES]
        assert not any(each.right for each in graded)
        scores[name] = sum(each.score for each in graded) / len(graded)
    assert scores["template"] < 0.4
    assert scores["everything"] < 0.15


def test_padding_a_right_report_costs() -> None:
    gold = a_report(STUDIES[1])
    padded = STUDIES[1]
    scores = [grade(gold, padded).score]
    for more in ("No pneumothorax.", "No fracture.", "Comparison is made.", "Thank you."):
        padded = f"{padded} {more}"
        scores.append(grade(gold, padded).score)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)
