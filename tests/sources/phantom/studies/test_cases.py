"""Cases of phantom studies: ids, gold, balance, options."""

import time
from collections import Counter

import pytest

from medgym.cases import Case, open_cases
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, open_image, open_study
from medgym.scorer import grade
from medgym.sources.phantom.source import PhantomSource
from medgym.sources.phantom.studies.plan import study_of
from medgym.sources.phantom.studies.questions import STUDY_QUESTIONS
from medgym.sources.phantom.studies.settings import CHANGES, STUDY_LOOKS
from medgym.sources.phantom.studies.textures import KINDS

ASKED = [(look, question) for look, about in STUDY_LOOKS.items() for question in about.questions]


def cases(look: str, question: str, split: str = "train", **options: str) -> list[Case]:
    small = {} if look == "slide" else {"size": "128", "depth": "8"}
    source = PhantomSource(look=look, question=question, **small, **options)
    return list(source.cases(split)[:96])


@pytest.mark.parametrize(("look", "question"), ASKED)
def test_a_case_is_whole(look: str, question: str) -> None:
    found = cases(look, question)
    assert len({case.id for case in found}) == 96
    for case in found[:8]:
        assert grade(case, case.answer).right
        assert Case.model_validate_json(case.model_dump_json()) == case
        assert not any(word in case.images[-1].uri for word in (*KINDS, *CHANGES, "left"))
        for region in case.regions:
            planes = open_study(case.images[region.image]).planes
            assert region.plane is not None
            plane = planes[region.plane]
            assert region.index is not None
            assert 0 <= region.index <= region.middle < region.index + region.count <= plane.count
            assert 0 < region.box_px[0] < region.box_px[2] < plane.size[0]


@pytest.mark.parametrize(("look", "question"), ASKED)
def test_answers_are_balanced(look: str, question: str) -> None:
    answers = Counter(case.answer for case in cases(look, question))
    if question in ("slice", "hounsfield"):
        assert len(answers) >= 5
        assert max(answers.values()) < 40
    else:
        assert len(set(answers.values())) == 1


def test_a_change_is_what_the_two_visits_show() -> None:
    for case in cases("ct-volume", "change")[:24]:
        prior, current = (study_of(image) for image in case.images)
        assert [image.role for image in case.images] == ["prior", "current"]
        areas = [sum(len(f.cells) for f in each.findings) for each in (prior, current)]
        before, now = areas
        said = "new" if not before else "unchanged"
        if before and before != now:
            said = "larger" if now > before else "smaller"
        assert case.answer == said
        assert {region.image for region in case.regions} <= {0, 1}


def test_lesions_that_are_counted_do_not_touch() -> None:
    for case in cases("ct-volume", "count")[:24]:
        cells = [cell for f in study_of(case.images[0]).findings for cell in f.cells]
        assert len(set(cells)) == len(cells)
        assert case.answer == str(len(case.regions))


def test_a_case_is_found_by_its_id_and_is_the_same_under_all_options() -> None:
    both = open_cases("phantom,look=ct-volume,question=kind+side:test[:40]")
    assert [both.find(case.id) for case in both] == list(both)
    (kind,) = open_cases("phantom,look=ct-volume:test[3:4]")
    assert both.find(kind.id) == kind
    with pytest.raises(UserError, match="no case"):
        both.find("phantom/test/ct-volume-256x16-easy-kind-999999999")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"look": "ct+ct-volume"}, "fix: name only ct-volume"),
        ({"look": "ct-volume", "depth": "9"}, "unknown depth of ct-volume '9'"),
        ({"look": "slide", "size": "512"}, "known: 1024, 2048, 4096"),
        ({"look": "ct-volume", "size": "500"}, "known: 128, 256, 512"),
        ({"look": "ct-volume", "difficulty": "heavy"}, "unknown difficulty 'heavy'"),
        ({"look": "ct-volume", "question": "size"}, "unknown question of ct-volume"),
        ({"look": "ct-volume", "deep": "8"}, "did you mean 'depth'"),
    ],
)
def test_a_wrong_option_names_the_mend(options: dict[str, str], text: str) -> None:
    with pytest.raises(UserError) as error:
        PhantomSource(**options)
    assert text in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "train/ct-volume/256x16-easy",
        "train/ct-volume/256x16-easy-/1",
        "train/ct-volume/256x16-easy-later/1",
        "train/ct-volume/256x9-easy/1",
        "train/ct-volume/256x16/1",
        "train/ct-volume/256x16-easy/1000000",
        "tomorrow/ct-volume/256x16-easy/1",
    ],
)
def test_an_address_that_names_no_study(name: str) -> None:
    with pytest.raises(UserError, match="no phantom has the address"):
        PhantomSource.open_image(ImageRef(uri=f"phantom:{name}"))


def test_three_hundred_first_views_a_minute() -> None:
    cases = PhantomSource(look="ct-volume", question="kind").cases("train")
    for case in cases[:3]:
        open_image(case.images[0])
    start = time.process_time()
    for case in cases[100:110]:
        open_image(case.images[0])
    # Measured: 5,000 a minute. The bound is loose for a machine that is busy.
    assert 10 / (time.process_time() - start) > 300 / 60


def test_every_question_is_asked_of_some_look() -> None:
    assert {question for _, question in ASKED} == set(STUDY_QUESTIONS)
