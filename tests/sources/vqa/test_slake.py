"""SLAKE, whose two languages were split apart from each other."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case, CaseKey, CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import open_image
from medgym.scorer import grade
from medgym.sources.vqa.slake import CARD
from tests.serving.hub import Hub, fetched_cases

NAMES = "70:Liver\n215:Left Lung\n225:Right Lung\n245:Lung Cancer"


def question(qid: int, answer: str, kind: str = "OPEN", **other: Any) -> dict[str, Any]:
    row = {
        "img_id": 1,
        "img_name": "xmlab1/source.jpg",
        "question": "Which organs?",
        "answer": answer,
        "q_lang": "en",
        "location": "Abdomen",
        "modality": "CT",
        "answer_type": kind,
        "base_type": "vqa",
        "content_type": "Organ",
        "triple": ["vhead", "_", "_"],
        "qid": qid,
        **other,
    }
    return dict(reversed(row.items())) if qid % 2 else row  # its keys stand in any order


QUESTIONS = [
    question(10, "Yes", "CLOSED", question="Does the picture contain liver?"),
    question(11, "Liver, Heart, Spleen, Lung"),
    question(12, "Left Lung, Right"),
    question(13, "2", question="How many lungs?"),
    question(14, "None", question="What diseases?", modality="MRI"),
    question(15, "Coronal Plane", "CLOSED", modality="X-Ray", img_name="xmlab2/source.jpg"),
    question(16, "肝脏、脾脏", q_lang="zh", img_name="xmlab2/source.jpg"),
    question(17, "是的", "CLOSED", q_lang="zh", img_name="xmlab2/source.jpg"),
    question(1622, "", question="Does the picture contain liver?"),
    question(18, "Inflammation, trauma, etc"),
]


def mask() -> bytes:
    grey = np.zeros((8, 12), np.uint8)
    grey[1:3, 2:5] = 70
    grey[4:8, 0:6] = 215
    grey[7, 11] = 3  # no name
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()


def files(picture: Callable[..., bytes]) -> dict[str, bytes]:
    boxes = [{"Atelectasis": [1.0, 2.0, 3.0, 4.0]}, {"Liver": [0, 0, 1, 1]}]
    return {
        "xmlab1/source.jpg": picture(90, "JPEG"),
        "xmlab1/mask.png": mask(),
        "xmlab1/detection.json": json.dumps(boxes).encode(),
        "xmlab2/source.jpg": picture(150, "JPEG"),
    }


@pytest.fixture(params=["imgs.zip", "imgs", "imgs/imgs"])
def slake(request: pytest.FixtureRequest, tmp_path: Path, picture: Any) -> Path:
    return written(tmp_path, picture, request.param)


@pytest.fixture
def zipped(tmp_path: Path, picture: Any) -> Path:
    return written(tmp_path, picture, "imgs.zip")


def written(tmp_path: Path, picture: Any, where: str) -> Path:
    folder = tmp_path / "slake"
    folder.mkdir()
    for split in ("train", "validate", "test"):
        (folder / f"{split}.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    (folder / "mask.txt").write_text(NAMES)
    if where == "imgs.zip":
        with zipfile.ZipFile(folder / where, "w") as archive:
            for name, data in files(picture).items():
                archive.writestr(f"imgs/{name}", data)
    else:
        for name, data in files(picture).items():
            (folder / where / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / where / name).write_bytes(data)
    return tmp_path


def opened(data: Path, options: str = "", split: str = "test") -> CaseList:
    return open_cases(f"slake,data={data},counts=any{options}:{split}")


def by_id(cases: CaseList, qid: int) -> Case:
    return cases.find(f"slake/{cases[0].split}/{qid}")


def test_images_are_read_from_the_zip_or_either_folder(slake: Path) -> None:
    cases = opened(slake)
    assert open_image(by_id(cases, 10).images[0]).pixels[0, 0] == 90
    assert open_image(by_id(cases, 15).images[0]).pixels[0, 0] == 150


def test_english_questions_are_the_default(zipped: Path) -> None:
    cases = opened(zipped)
    assert [case.id.rpartition("/")[2] for case in cases] == [
        "10",
        "11",
        "12",
        "13",
        "14",
        "15",
        "18",
    ]
    assert {case.language for case in cases} == {"en"}
    assert [(case.modality, case.group) for case in cases][3:6] == [
        ("CT", "xmlab1"),
        ("MR", "xmlab1"),
        ("DX", "xmlab2"),
    ]


@pytest.mark.parametrize(("language", "count"), [("zh", 2), ("en+zh", 9), ("zh+en", 9)])
def test_other_languages_are_asked_for(zipped: Path, language: str, count: int) -> None:
    cases = opened(zipped, f",language={language}", "validation")
    assert len(cases) == count
    assert by_id(cases, 16).language == "zh"
    assert by_id(cases, 16).answer == "肝脏、脾脏"


def test_answers_have_the_type_as_annotated_else_that_of_their_text(zipped: Path) -> None:
    cases = opened(zipped, ",language=en+zh")
    assert {case.id.rpartition("/")[2]: case.answer_type for case in cases} == {
        "10": "closed",
        "11": "set",
        "12": "set",
        "13": "number",
        "14": "open",
        "15": "closed",
        "16": "set",
        "17": "closed",
        "18": "set",
    }


def test_lists_have_other_forms_that_are_right_too(zipped: Path) -> None:
    cases = opened(zipped)
    assert by_id(cases, 11).accepted == ()
    assert by_id(cases, 12).accepted == ("Left Lung, Right Lung",)
    assert by_id(cases, 18).accepted == ("Inflammation, trauma",)


def test_a_question_without_an_answer_is_dropped_even_where_it_has_regions(zipped: Path) -> None:
    for options in ("", ",regions=all"):
        cases = opened(zipped, options)
        assert list(cases.dropped) == [("row 8 of test.json", "the answer is blank")]
        assert not any(case.id.endswith("/1622") for case in cases)


def test_masks_and_boxes_are_gold_regions(slake: Path) -> None:
    assert by_id(opened(slake), 10).regions == ()
    case = by_id(opened(slake, ",regions=all"), 11)
    assert {region.label: region.box_px for region in case.regions} == {
        "Liver": (2, 1, 5, 3),
        "Left Lung": (0, 4, 6, 8),
        "Atelectasis": (1, 2, 4, 6),
    }
    masks = {region.label: region.mask for region in case.regions}
    assert masks["Liver"] is not None
    assert masks["Liver"].array().sum() == 6
    assert masks["Atelectasis"] is None


def test_named_regions_are_those_of_question_and_answer(zipped: Path) -> None:
    cases = opened(zipped, ",regions=named")
    named = {
        case.id.rpartition("/")[2]: [region.label for region in case.regions] for case in cases
    }
    assert named["10"] == ["Liver"]
    assert named["11"] == ["Liver", "Left Lung"]
    assert named["14"] == named["15"] == []


def test_a_mask_of_another_size_is_not_used(zipped: Path, picture: Any) -> None:
    path = zipped / "slake/imgs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files(picture).items():
            if name.endswith("source.jpg"):
                stream = io.BytesIO()
                Image.new("L", (24, 16)).save(stream, "JPEG")
                data = stream.getvalue()
            archive.writestr(f"imgs/{name}", data)
    labels = [region.label for region in by_id(opened(zipped, ",regions=all"), 11).regions]
    assert labels == ["Atelectasis", "Liver"]  # by their boxes


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", "1,061"), (",language=zh", "1,033"), (",language=en+zh", "2,094")],
)
def test_other_counts_than_the_published_ones_are_refused(
    zipped: Path, options: str, expected: str
) -> None:
    with pytest.raises(UserError, match=rf"rows \(expected {expected}\).*; fix: fetch revision"):
        open_cases(f"slake,data={zipped}{options}:test")


def test_only_both_languages_together_leak(zipped: Path) -> None:
    assert not any("142" in note for note in opened(zipped).notes)
    assert any("142" in note for note in opened(zipped, ",language=en+zh").notes)


def test_the_published_counts_add_up() -> None:
    for split in ("train", "validation", "test"):
        one, other = CARD.splits[split], CARD.splits[f"language=zh:{split}"]
        both = CARD.splits[f"language=en+zh:{split}"]
        assert both.rows == one.rows + other.rows
        for counts in (one, other, both):
            assert sum(counts.types.values()) == counts.rows


def test_a_file_of_names_in_another_form_is_named(zipped: Path) -> None:
    (zipped / "slake/mask.txt").write_text("70:Liver\nHeart\n")
    with pytest.raises(UserError, match=r"line 2 of .*mask.txt is 'Heart'"):
        opened(zipped, ",regions=all")


def test_a_mask_of_too_many_pixels_is_refused(
    zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = opened(zipped, ",regions=all")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UserError, match=r"cannot read the mask of xmlab1/source.jpg"):
        cases[0]


def test_the_questions_masks_and_images_are_fetched(hub: Hub, zipped: Path, tmp_path: Path) -> None:
    folder = zipped / "slake"
    (folder / "validate.json").rename(folder / "validation.json")
    cases = fetched_cases(hub, "slake", folder, "validation", tmp_path / "data", "regions=named")
    assert [region.label for region in by_id(cases, 10).regions] == ["Liver"]
    assert open_image(by_id(cases, 15).images[0]).pixels[0, 0] == 150


@pytest.mark.parametrize(
    ("qid", "reply"),
    [
        (10, "yes."),
        (11, "lung, spleen, heart, liver"),
        (12, "right lung, left lung"),
        (13, "2.0"),
        (14, "None"),
        (16, "脾脏，肝脏"),
        (17, "是的。"),
    ],
)
def test_what_is_right_is_scored_as_right(zipped: Path, qid: int, reply: str) -> None:
    case = by_id(opened(zipped, ",language=en+zh"), qid)
    assert grade(case, reply).right
    assert not grade(case, "Liver, Lung").right


def test_keys_are_those_of_the_cases_and_read_no_mask(zipped: Path) -> None:
    cases = opened(zipped, ",regions=all")
    expected = [CaseKey(case.id, case.source, case.group) for case in cases]
    (zipped / "slake/imgs.zip").unlink()
    assert list(cases.case_keys()) == expected


def test_an_option_that_it_does_not_have_is_the_users(zipped: Path) -> None:
    with pytest.raises(UserError, match=r"option of slake 'langage'; did you mean 'language'\?"):
        opened(zipped, ",langage=zh")
