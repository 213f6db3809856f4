"""Questions about what is not there: made only where the gold excludes it, and never twice."""

import pytest

from medgym.cases import Case, CaseList, open_cases
from medgym.evals.hallucination.findings import finding_asked
from medgym.evals.hallucination.measured import AskedNotThere, hallucination_figures
from medgym.evals.hallucination.not_there import (
    CLOSED,
    HALF,
    LESION,
    NO_ANSWER,
    NO_MODALITY,
    NOT_ELSEWHERE,
    PLACE,
    is_as_if_there,
    questions_not_there,
)
from medgym.imaging.study import ImageRef


def asked(question: str, answer: str, image: str = "a", **more: object) -> Case:
    return Case(
        id=f"own/test/{image}-{question}", images=(ImageRef(uri=image),), question=question,
        answer=answer, answer_type="closed", group=image, source="own", split="test",
        **({"modality": "DX"} | more),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("question", "finding"),
    [
        ("Is there a pneumothorax?", "pneumothorax"),
        ("Is there any evidence of  pleural effusion in this image?", "pleural effusion"),
        ("Are there rib fractures present on the chest x-ray?", "rib fractures"),
        ("Does the picture contain lung?", "lung"), ("Is cardiomegaly present?", "cardiomegaly"),
        ("Does this CT show a mass?", "mass"),
        ("Is the heart enlarged?", None), ("Is there more fluid than air?", None),
        ("Is there a mass on the left?", None), ("Is there any abnormality in the image?", None),
        ("Where is the mass?", None), ("Is this a CT?", None),
        ("Is there a lesion or a fracture?", None), ("Is there something wrong?", None),
        ("Is there a very large and long opacity of the lung?", None),
        ("Are there no fractures?", None), ("Is the lesion not visible?", None),
        ("Is there an absence of bowel gas?", None), ("Is no fracture seen?", None),
        ("Is there a large pleural effusion?", None), ("Is there bilateral effusion?", None),
        ("Are there multiple fractures?", None), ("Is there still a chest tube?", None),
    ],
)  # fmt: skip
def test_what_a_closed_question_asks_for(question: str, finding: str | None) -> None:
    assert finding_asked(asked(question, "no")) == finding
    assert finding_asked(asked(question, "left")) is None
    assert finding_asked(asked(question, "no", language="zh")) is None


def test_of_a_phantom_the_plan_says_what_is_not_there() -> None:
    cases = open_cases("phantom,look=ct:test[:40]")
    found = questions_not_there(cases)
    images = {case.images for case in cases}
    assert len(found.cases) == len({case.images for case in found.cases}) == len(images)
    by_id = {case.id: case for case in cases}
    for case in found.cases:
        of = by_id[case.id.partition("~")[0]]
        assert case.group == of.group
        assert case.answer in case.options
        if found.forms[case.id] == LESION:
            assert of.regions == ()
            assert case.answer == "there is no lesion"
        else:
            assert found.forms[case.id] == HALF
            other = "left" if of.regions[0].box_px[0] >= 256 else "right"
            assert f"in the {other} half" in case.question
    assert {LESION, HALF} == set(found.forms.values())
    # The right answer stands at each place, so that no letter is right by itself.
    assert {case.options.index(case.answer) for case in found.cases} == set(range(5))
    assert len(CaseList(found.cases)) == len({case.id for case in found.cases})
    assert questions_not_there(cases) == found


def test_of_an_annotated_image_only_its_own_answers_say_it() -> None:
    cases = [
        asked("Is there a pneumothorax?", "no", "a"), asked("Is there a pneumothorax?", "yes", "b"),
        asked("Is there an effusion?", "no", "c"),
        asked("Is there an effusion?", "yes", "d", modality="CT"),
        asked("Where is the heart?", "chest", "e"),
        asked("Is there a mass?", "no", "f"), asked("Is mass present?", "yes", "f"),
        asked("Is there a pneumothorax?", "no", "g", modality=None),
    ]  # fmt: skip
    found = questions_not_there(cases)
    assert [found.forms[case.id] for case in found.cases] == [PLACE, CLOSED]
    place, closed = found.cases
    assert place.question == "Where in the image is the pneumothorax?"
    assert place.images == closed.images == cases[0].images
    assert (place.answer, closed.answer) == ("it is not there", "no")
    # c: in no other image of its modality. b, d, e: nothing is excluded. f: both are annotated.
    assert found.not_made == {NOT_ELSEWHERE: 1, NO_ANSWER: 4, NO_MODALITY: 1}
    assert is_as_if_there(place, "in the left half")
    assert not is_as_if_there(place, "it is not there")
    assert not is_as_if_there(place, None)
    assert is_as_if_there(closed, "yes")
    assert not is_as_if_there(closed, "no")
    assert not is_as_if_there(closed, "maybe")


def test_who_says_nothing_that_can_be_read_looks_no_better_for_it() -> None:
    answers = [
        AskedNotThere(str(number), 0, ("s", str(number)), LESION, chosen, chosen == "banded")
        for number, chosen in enumerate(["banded", "there is no lesion", None, None])
    ]
    (row,) = hallucination_figures([], answers)["not there"]
    assert (row["as if there"]["value"], row["as if there"]["n"], row["not read"]) == (0.5, 2, 2)
    (silent,) = hallucination_figures([], answers[2:])["not there"]
    assert (silent["as if there"]["n"], silent["not read"]) == (0, 2)
