"""No scorer rewards padding, a constant paragraph, or a list of everything, by either reading.

The golds are distributed as those of published sets: how many are yes and no, how many are other
words, letters, numbers and lists, as counted in their test splits. The open answers, the reports
and the boxes are written for this test, of their length.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import get_args

import pytest

from medgym.cases import AnswerType, Case
from medgym.evals.outcomes.lenient import lenient_grade
from medgym.evals.scorers.legacy.answered import Answered
from medgym.evals.scorers.legacy.deeptumorvqa import deeptumorvqa
from medgym.evals.scorers.legacy.llava_med import llava_med
from medgym.evals.scorers.legacy.medevalkit import medevalkit
from medgym.evals.scorers.region.detection import average_precision
from medgym.registry import names
from medgym.scorer import Grade, grade

PARAGRAPH = (
    "Yes, no. The image is an axial CT or MRI with contrast, or a PA chest x-ray. There is a mass "
    "in the left and right lung, liver, kidney and brain, a pleural effusion, cardiomegaly, "
    "pneumonia and a normal heart. One, two, 1, 2, 3. A, B, C, D, E. Both; neither; none; 是的。"
)
"""One text of the commonest answers of the sets, for every question."""

OPEN_WORDS = (
    "right lung", "axial", "PA", "CT with contrast", "pleural effusion", "liver", "brain", "MRI",
    "cardiomegaly", "left kidney", "pneumonia", "chest x-ray", "the heart", "mass",
    "right lower lobe", "T2 weighted", "lung", "edema", "transverse plane", "left side",
)  # fmt: skip
LISTS = ("Liver, Heart, Spleen", "Left Lung, Right", "Brain Edema, Mass", "pink; red", "Lung",
         "肝脏、心脏", "Kidney, Liver, Spleen, Stomach")  # fmt: skip
REPORTS = (
    "The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax.",
    "Cardiomegaly with mild pulmonary edema. Small bilateral pleural effusions.",
    "Right lower lobe consolidation. No pneumothorax.",
    "Stable 8 mm nodule in the left upper lobe. Degenerative changes of the spine.",
    "No acute cardiopulmonary abnormality. Old fracture of the left clavicle.",
    "双肺未见异常。心影不大。",
    "Bóng tim không to. Không tràn dịch màng phổi.",
)


def a_case(kind: AnswerType, gold: str, **other: object) -> Case:
    return Case.model_validate(
        {
            "id": "vqa-rad/test/0", "images": (), "question": "?", "answer": gold, "group": "g",
            "answer_type": kind, "source": "vqa-rad", "split": "test", **other,
        }
    )  # fmt: skip


def repeated(texts: Sequence[str], number: int) -> list[str]:
    return [texts[place % len(texts)] for place in range(number)]


def boxes(number: int) -> Iterator[str]:
    draw = random.Random(0)
    for _ in range(number):
        width, height = draw.randint(60, 400), draw.randint(60, 400)
        x, y = draw.randint(0, 1000 - width), draw.randint(0, 1000 - height)
        yield json.dumps([x, y, x + width, y + height])


LETTERS = {"A": 399, "B": 408, "C": 383, "D": 386, "E": 424}
"""The golds of MedXpertQA-MM."""

OPTIONS = ("smooth mass", "banded opacity", "granular nodule", "normal", "no finding")
GOLDS: Mapping[AnswerType, Sequence[Case]] = {
    "choice": [
        a_case("choice", option, options=OPTIONS)
        for option, count in zip(OPTIONS, LETTERS.values(), strict=True)
        for _ in range(count // 10)
    ],
    # VQA-RAD has 251 yes and no, and 21 others; SLAKE in English 180 no, 175 yes, 61 others
    "closed": [
        a_case("closed", gold)
        for gold in [
            *repeated(("yes", "no"), 251),
            *repeated(("Left", "Right", "Both", "Axial", "MRI", "FLAIR", "one", "Smaller"), 21),
            *["No"] * 180, *["Yes"] * 175, *repeated(("CT", "MRI", "Chest", "X-Ray"), 61),
        ]
    ],
    "open": [a_case("open", gold) for gold in repeated(OPEN_WORDS, 179)],
    "number": [a_case("number", gold) for gold in repeated(("1", "2", "1", "3", "4", "0"), 89)],
    "set": [a_case("set", gold) for gold in repeated(LISTS, 100)],
    "region": [a_case("region", gold) for gold in boxes(60)],
    "report": [a_case("report", gold) for gold in REPORTS],
}  # fmt: skip


def everything(kind: AnswerType) -> Iterator[str]:
    """All golds of a type in one answer."""
    cases = GOLDS[kind]
    listed = list(dict.fromkeys(cases[0].options or [case.answer for case in cases]))
    for mark in (", ", " ", " or ", "; ", "\n", "/"):
        yield mark.join(listed)
    if kind == "choice":
        yield from ("ABCDE", "A, B, C, D, E", "A B C D E", "A or B or C or D or E", "all of them")
    if kind == "region":
        cells = [[x, y, x + 100, y + 100] for x in range(0, 1000, 100) for y in range(0, 1000, 100)]
        whole = [[0, 0, 1000, 1000]] * 100
        yield json.dumps(cells)
        yield json.dumps(whole)
        yield json.dumps([json.loads(case.answer) for case in cases])
        yield '{"polygon": [[0, 0], [1000, 0], [1000, 1000], [0, 1000]]}'
    if kind == "report":
        findings = ("effusion", "pneumothorax", "consolidation", "nodule", "mass", "fracture")
        yield " ".join(
            f"{side} {finding}. No {side} {finding}. Possible {side} {finding}."
            for finding in findings
            for side in ("right", "left", "bilateral")
        )


def forms(text: str) -> Iterator[str]:
    """A text as an answer, and as replies that the lenient reading knows."""
    yield text
    yield f"The answer is {' '.join(text.splitlines())}"
    yield f"\\boxed{{{text}}}"


def both_readings(case: Case, text: str) -> Iterator[Grade]:
    yield grade(case, text)
    for reply in forms(text):
        yield lenient_grade(case, reply)


def different(cases: Sequence[Case]) -> Sequence[Case]:
    """Some cases, each with another gold: a scorer has no memory."""
    return list({case.answer: case for case in cases}.values())[:7]


def test_every_scorer_is_among_them() -> None:
    assert set(GOLDS) == set(get_args(AnswerType)) == set(names("scorers"))


@pytest.mark.parametrize("kind", get_args(AnswerType))
def test_neither_one_paragraph_nor_a_list_of_everything_is_ever_right(kind: AnswerType) -> None:
    cases = different(GOLDS[kind])
    for text in (PARAGRAPH, *everything(kind)):
        for case in cases:
            for found in both_readings(case, text):
                assert not found.right, (case.answer, text[:80])


@pytest.mark.parametrize("kind", get_args(AnswerType))
def test_neither_has_a_score_that_is_worth_anything(kind: AnswerType) -> None:
    """Most scores are 0 or 1. A region's is an overlap, a report's an F1: of a list of everything
    it is small. Of all reports in one, each has its own statements among seven times as many."""
    cases = different(GOLDS[kind])
    most = {"region": 0.15, "report": 0.26}.get(kind, 0.0)
    for text in (PARAGRAPH, *everything(kind)):
        assert fmean(grade(case, text).score for case in cases) <= most, text[:80]


def test_a_list_on_lines_of_its_own_is_one_constant_answer() -> None:
    """The lenient reading takes what follows "the answer is" on its line, so a list of everything
    is right as often as its first item is the gold."""
    cases = GOLDS["open"]
    listed = "The answer is " + "\n".join(OPEN_WORDS)
    right = sum(lenient_grade(case, listed).right for case in cases)
    assert right == sum(case.answer == OPEN_WORDS[0] for case in cases)


@pytest.mark.parametrize("kind", get_args(AnswerType))
def test_a_right_answer_that_is_padded_is_not_right(kind: AnswerType) -> None:
    for case in different(GOLDS[kind]):
        assert grade(case, case.answer).right
        padded = f"{case.answer} {PARAGRAPH}"
        if kind == "region":
            padded = json.dumps([json.loads(case.answer), [0, 0, 500, 500]])
        found = grade(case, padded)
        assert not found.right
        assert found.score <= (0.7 if kind in ("region", "report") else 0)


def test_one_constant_answer_is_right_as_often_as_it_is_the_gold() -> None:
    """Chance, and no more. Regions and reports may be near several golds, and are tested apart."""
    kinds: tuple[AnswerType, ...] = ("choice", "closed", "open", "number", "set")
    for kind in kinds:
        cases = GOLDS[kind]
        texts = [case.answer for case in cases]
        common = max(dict.fromkeys(texts), key=texts.count)
        right = sum(grade(case, common).right for case in cases)
        assert right == sum(text.casefold() == common.casefold() for text in texts)
    letters = [grade(case, "E").right for case in GOLDS["choice"]]
    assert sum(letters) == LETTERS["E"] // 10


def test_a_constant_box_finds_what_lies_under_it() -> None:
    for box in ("[0, 0, 1000, 1000]", "[250, 250, 750, 750]", "[400, 400, 600, 600]"):
        graded = [grade(case, box) for case in GOLDS["region"]]
        assert fmean(each.right for each in graded) <= 0.05
    golds = [[json.loads(case.answer)] for case in GOLDS["region"]]
    cells = [[x, y, x + 200, y + 200, 1.0] for x in range(0, 1000, 50) for y in range(0, 1000, 50)]
    tiled = [(gold, cells[:100]) for gold in golds]
    found = average_precision(tiled, list(range(len(golds))), resamples=2)
    assert found["mAP"].value < 0.05


VQA_RAD = [
    a_case(kind, gold)
    for kind, golds in (
        ("closed", [*repeated(("yes", "no"), 251), *repeated(("Left", "Both", "one"), 21)]),
        ("open", repeated(OPEN_WORDS, 179)),
    )
    for gold in golds
]  # type: ignore[arg-type]
"""As many closed and open questions as VQA-RAD's test split has."""


def test_published_rules_do_reward_the_paragraph() -> None:
    """By LLaVA-Med's rule a paragraph that looks at nothing passes half of VQA-RAD's questions; by
    medgym's it has none."""
    answers = [Answered(case, PARAGRAPH, grade(case, PARAGRAPH).right) for case in VQA_RAD]
    assert not any(each.right for each in answers)
    found = llava_med(answers)
    assert found["closed: accuracy"] == pytest.approx(251 / 272)
    assert found["open: token recall"] > 0.75
    assert (251 + 179 * found["open: token recall"]) / 451 > 0.565
    normal = [Answered(case, "The chest is normal.", False) for case in VQA_RAD]
    assert medevalkit(normal)["closed: accuracy"] == pytest.approx(125 / 251)
    nearest = [Answered(case, "It is a banded one", False) for case in GOLDS["choice"]]
    assert medevalkit(nearest)["accuracy"] > 0.1
    word = [Answered(case, "Appears normal", False) for case in GOLDS["choice"]]
    assert deeptumorvqa(word)["accuracy"] == pytest.approx(LETTERS["A"] / 2000, abs=0.01)
