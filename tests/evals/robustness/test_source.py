"""Variants of cases: what differs, what stays, and which cases they leave out."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case, CaseList, open_cases, read_cases, write_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.robustness.options import other_order
from medgym.evals.robustness.originals import Originals
from medgym.evals.robustness.paraphrases import paraphrase, read_paraphrases
from medgym.evals.robustness.source import VariantCases
from medgym.evals.robustness.variants import Variant, chosen_variants
from medgym.imaging.opened import Sent, opened_image
from medgym.imaging.study import ImageRef, open_image
from medgym.metrics.counterfactual import exchanged
from medgym.privacy.names import without_names
from medgym.uris import file_uri


def variant(name: str, of: str = "phantom,question=kind:test[:4]") -> list[Case]:
    return list(open_cases(f'variant,of="{of}",by={name}:all'))


def case(**fields: object) -> Case:
    given: dict[str, object] = {
        "id": "mine/test/1", "images": (), "question": "Which one?", "answer": "yes",
        "answer_type": "open", "group": "g", "source": "mine", "split": "test",
    }  # fmt: skip
    return Case.model_validate(given | fields)


def test_a_corrupted_case_is_the_case_with_other_pixels() -> None:
    clean = list(open_cases("phantom,question=kind:test[:4]"))
    found = variant("jpeg-3")
    for before, after in zip(clean, found, strict=True):
        assert after.id == f"{before.id}~jpeg-3"
        same = before.model_copy(update={"id": after.id, "images": after.images})
        assert after == same
        first, second = open_image(before.images[0]), open_image(after.images[0])
        assert (first.size, first.spacing_mm) == (second.size, second.spacing_mm)
        assert second.view_sizes == first.view_sizes
        assert not np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(open_image(after.images[0]).pixels, second.pixels)


def test_a_variant_leaves_out_and_counts_what_it_does_not_fit() -> None:
    looks = open_cases('variant,of="phantom,question=kind:test[:4]",by=saturate-1:all')
    assert [each.modality for each in looks] == ["SM"]
    assert len(looks.dropped) == 3
    assert "saturate does not occur in images of DX" in dict(looks.dropped).values()


def test_a_case_file_keeps_changed_images(tmp_path: Path) -> None:
    write_cases(variant("blank"), tmp_path / "cases.jsonl")
    for each in read_cases(tmp_path / "cases.jsonl"):
        assert np.ptp(open_image(each.images[0]).pixels) == 0


def test_images_of_a_volume_are_changed_one_by_one_and_reopened_elsewhere() -> None:
    (found,) = variant("gaussian-noise-3", "phantom,look=ct-volume:test[:1]")
    (clean,) = open_cases("phantom,look=ct-volume:test[:1]")
    opened, before = opened_image(found.images[0]), opened_image(clean.images[0])
    assert opened.place == before.place
    assert dict(opened.planes) == dict(before.planes)
    axial = opened.study.image("axial", 3)
    assert not np.array_equal(axial.pixels, before.study.image("axial", 3).pixels)
    part = opened.study.image("axial", 3, (5.0, 6.0, 20.0, 30.0))
    assert np.array_equal(part.pixels, axial.pixels[6:30, 5:20])
    assert opened.study.place_mm("axial", 3) == before.study.place_mm("axial", 3)
    there = pickle.loads(pickle.dumps(Sent(opened)))
    assert np.array_equal(there.study.image("axial", 3).pixels, axial.pixels)


def test_a_changed_page_of_a_tiff_is_the_page_that_was_named(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((40, 40), grey, np.uint8)) for grey in (10, 200)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    ref = ImageRef(uri=file_uri(tmp_path / "pages.tif"), frame=1)
    write_cases([case(images=(ref,), modality="XC")], tmp_path / "cases.jsonl")
    (found,) = variant("brightness-down-1", str(tmp_path / "cases.jsonl"))
    assert open_image(found.images[0]).pixels.mean() == pytest.approx(180, abs=1)


def test_errors_keep_no_name_of_a_file_that_is_changed(tmp_path: Path) -> None:
    ref = ImageRef(uri=f"variant:blank/0/1/any:{file_uri(tmp_path / 'pneumonia.png')}")
    with pytest.raises(UserError, match="pneumonia") as raised:
        open_image(ref)
    assert "pneumonia" not in without_names(str(raised.value), [ref])


@pytest.mark.parametrize(
    "uri", ["variant:blank", "variant:jpeg-9/1/1/CT:x", "variant:jpeg/1/a/CT:x"]
)
def test_an_address_that_names_no_change_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="no changed image has the address"):
        open_image(ImageRef(uri=uri))


def test_options_come_in_another_order_and_the_gold_is_the_same_text() -> None:
    for before, after in zip(
        open_cases("phantom,question=kind:test[:4]"), variant("options"), strict=True
    ):
        assert after.answer == before.answer
        assert sorted(after.options) == sorted(before.options)
        assert after.options != before.options


@pytest.mark.parametrize(
    ("options", "question"),
    [
        (("x", "none of the above"), "Which?"),
        (("x", "y", "Both A and B"), "Which?"),
        (("A", "B"), "Which letter?"),
        (("x", "y"), "Which? A. x B. y"),
        (("甲", "乙", "上述都是"), "Which?"),
        (("x", "y"), "Why is option B right?"),
        (("x", "y"), "Is the first option or the second one right?"),
        (("x", "y", "(A) and (B)"), "Which?"),
        (("x", "y", "z", "A, B, C"), "Which?"),
        (("x", "y", "A+B"), "Which?"),
        (("x", "y", "AB"), "Which?"),
        (("x", "y", "Neither A nor B"), "Which?"),
        (("x", "y", "Only A"), "Which?"),
        (("x", "y", "A only"), "Which?"),
        (("x", "y", "All except B"), "Which?"),
        (("x", "y", "The first two"), "Which?"),
        (("x", "y", "The latter"), "Which?"),
        (("x", "y", "All answers are correct"), "Which?"),
        (("x", "y", "None of the listed"), "Which?"),
        (("x", "y", "Same as option 1"), "Which?"),
        (("甲", "乙", "A和B"), "Which?"),
        (("甲", "乙", "A、B"), "Which?"),
        (("甲", "乙", "仅A"), "Which?"),
        (("A. left", "B. right"), "Which?"),
        (("x", "x"), "Which?"),
        ((), "Which?"),
    ],
)
def test_options_whose_order_has_a_meaning_keep_it(options: tuple[str, ...], question: str) -> None:
    answer = options[0] if options else "x"
    found = case(options=options, question=question, answer=answer)
    assert other_order(found) is None


@pytest.mark.parametrize(
    "option",
    [
        "Head", "CT", "E. coli", "Hepatitis A", "A mass and a nodule", "Grade B", "T1 and T2",
        "Both", "First rib", "B-cell lymphoma", "As a whole", "Same as the previous study", "None",
    ],
)  # fmt: skip
def test_options_that_name_no_other_come_in_another_order(option: str) -> None:
    assert other_order(case(options=("x", "y", option), answer="x", question="Which?")) is not None


@pytest.mark.parametrize(
    ("question", "words", "language"),
    [
        ("Is there a fracture in this image?", "Can a fracture be seen in this image?", "en"),
        ("Where is the lesion located?", "What is the location of the lesion?", "en"),
        ("How many ribs are there?", "What is the number of ribs?", "en"),
        ("Does the image show a lesion?", "Can a lesion be seen in the image?", "en"),
        ("Which pattern does the lesion have?", "What pattern does the lesion have?", "en"),
        ("What modality is this?", "Which modality is this?", "en"),
        ("Which of these is shown?", None, "en"),
        ("Is this normal?", None, "en"),
        ("Where is the lesion not located?", None, "en"),
        ("Are there more lesions in the left or the right lung?", None, "en"),
        ("Are there any abnormalities not in this image?", None, "en"),
        ("Is there a mass, and is it large?", None, "en"),
        ("Where is it?", None, "en"),
        ("所有器官都健康吗？", None, "zh"),
        ("是否有肿瘤吗？", None, "zh"),
        ("不是肺而是肝吗？", None, "zh"),
        ("图中有没有没有病变的区域？", None, "zh"),
        ("图中有肿瘤吗？", "图中是否有肿瘤？", "zh"),
        ("图中有没有肿瘤？", "图中是否有肿瘤？", "zh"),
        ("肿瘤在哪里？", "肿瘤位于何处？", "zh"),
        ("Is there a tube present?", "Can a tube be seen?", "en"),
        ("Are there clips visible in the image?", "Can clips be seen in the image?", "en"),
        ("Is there nothing in the image?", None, "en"),
        ("Is there hardly any air?", None, "en"),
        ("Is there a lack of contrast?", None, "en"),
        ("Is there still a tube?", None, "en"),
        ("Is there a lesion that can be seen?", None, "en"),
        ("Does the scan show that the trachea is midline?", None, "en"),
        ("Where is there a lesion?", None, "en"),
        ("Where are the hands placed?", None, "en"),
        ("Ist das normal?", None, "de"),
    ],
)
def test_rules_keep_the_meaning_or_do_not_apply(
    question: str, words: str | None, language: str
) -> None:
    assert paraphrase(case(question=question, language=language)) == words


def test_a_file_of_paraphrases_replaces_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"question": "Which one?", "paraphrase": "Say which one."},
        {"id": "mine/test/2", "paraphrase": "And here?"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    given = read_paraphrases(path)
    assert paraphrase(case(), given) == "Say which one."
    assert paraphrase(case(id="mine/test/2"), given) == "And here?"
    assert paraphrase(case(question="Is there a lesion?"), given) is None
    path.write_text('{"question": "x"}')
    with pytest.raises(UserError, match="line 1 is no paraphrase"):
        read_paraphrases(path)


def test_exchanged_images_are_of_the_same_modality_and_another_answer() -> None:
    of = "phantom,question=kind:test[:24]"
    clean = {each.images: each for each in open_cases(of)}
    found = variant("exchanged", of)
    assert len(found) == 24
    for each in found:
        other = clean[each.images]
        assert other.modality == each.modality
        assert other.answer != each.answer
        assert other.group != each.group
        assert each.regions == ()


def variants_of(cases: list[Case], name: str) -> VariantCases:
    return VariantCases(Originals(CaseList(cases)), Variant(name))


def test_an_exchanged_image_is_of_no_case_whose_answer_would_be_accepted() -> None:
    phantoms = open_cases("phantom,question=kind:test[:2]")
    images = [each.images for each in phantoms]
    one = case(id="mine/test/1", images=images[0], group="", answer="liver", accepted=("hepar",))
    two = case(id="mine/test/2", images=images[1], group="", answer="hepar")
    assert len(variants_of([one, two], "exchanged")) == 0
    assert len(variants_of([one, two.model_copy(update={"answer": "lung"})], "exchanged")) == 2


def test_as_many_images_are_exchanged_as_a_case_has() -> None:
    cases = [
        case(id=f"mine/test/{n}", images=(ImageRef(uri=f"{n}"),) * count, answer=answer, group="")
        for n, (count, answer) in enumerate([(1, "lung"), (2, "heart"), (2, "liver"), (1, "skin")])
    ]
    made = variants_of(cases, "exchanged")
    assert [len(each.images) for each in made] == [1, 2, 2, 1]
    assert len(variants_of(cases[:2], "exchanged")) == 0


def test_an_exchanged_image_is_if_possible_of_a_case_with_the_same_question() -> None:
    of = "phantom,look=ct:test[:24]"
    clean = {(each.images, each.question) for each in open_cases(of)}
    assert all((each.images, each.question) in clean for each in variant("exchanged", of))


def test_cases_without_groups_can_show_each_others_views_and_one_group_cannot() -> None:
    phantoms = open_cases("phantom,question=kind:test[:2]")
    alone = [each.model_copy(update={"group": ""}) for each in phantoms]
    fitting = variants_of(alone, "other-views")
    assert len(fitting) == 2
    assert set(exchanged(Rules(), fitting).others) == {each.id for each in fitting}  # type: ignore[attr-defined]
    together = [each.model_copy(update={"group": "one"}) for each in phantoms]
    assert len(variants_of(together, "other-views")) == 0


def test_another_question_about_the_same_image_is_no_other_case_to_see() -> None:
    of = [open_cases("phantom,question=kind:test[:2]")[place].images for place in (0, 0, 1)]
    cases = [
        case(id=f"mine/test/{n}", group="", images=images, answer=answer)
        for n, (images, answer) in enumerate(zip(of, ("liver", "lung", "skin"), strict=True))
    ]
    for name in ("exchanged", "other-views"):
        assert len(variants_of(cases[:2], name)) == 0
    made = variants_of(cases, "exchanged")
    assert [each.images for each in made] == [of[2], of[2], made[2].images]
    others = exchanged(Rules(), cases).others  # type: ignore[attr-defined]
    assert all(others[each.id] != each.images for each in cases)


def test_images_of_one_zip_are_not_one_image() -> None:
    cases = [
        case(id=f"mine/test/{n}", group="", answer=answer,
             images=(ImageRef(uri="file:/a.zip", member=f"{n}.png"),))
        for n, answer in enumerate(("liver", "lung"))
    ]  # fmt: skip
    for name in ("exchanged", "other-views"):
        assert len(variants_of(cases, name)) == 2


def test_text_only_shows_nothing() -> None:
    assert all(not each.images and not each.regions for each in variant("text-only"))


def test_variants_are_chosen_by_family_and_severity() -> None:
    found = chosen_variants("blur,options,jpeg", "5,1")
    assert [str(each) for each in found[:2]] == ["defocus-blur-1", "defocus-blur-5"]
    assert [str(each) for each in found[-3:]] == ["options", "jpeg-1", "jpeg-5"]
    assert [Variant.named(str(each)) for each in found] == found
    assert len(chosen_variants(None, "1,3,5")) == 21 * 3 + 6
    for names, severities in (("blurr", "1"), ("blur", "6"), ("", "1")):
        with pytest.raises(UserError, match=r"fix:|known"):
            chosen_variants(names, severities)
    with pytest.raises(UserError, match="has no severity; fix: write jpeg-1"):
        Variant.named("jpeg")


def test_a_variant_is_named_by_its_original_to_a_tool_that_gives_no_gold_away() -> None:
    (clean,) = open_cases("phantom,question=kind:test[:1]")
    for name in ("jpeg-3", "blank", "text-only"):
        (each,) = variant(name, "phantom,question=kind:test[:1]")
        workspace = Rules(view_size=64).begin(each).workspace
        assert workspace.is_named(clean.id)
        assert name == "text-only" or workspace.is_named(clean.images[0].location)
