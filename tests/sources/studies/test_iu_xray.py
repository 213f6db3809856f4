"""IU X-ray: the collection's XML files, and the copy with splits."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

import medgym
from medgym.errors import UserError
from medgym.imaging.study import open_image
from tests.serving.hub import Hub, fetched_cases

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <meta type="rr"/>
  <uId id="CXR{number}"/>
  <pmcId id="{number}"/>
  <MedlineCitation Owner="Indiana University Hospital">
    <Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText>
      <AbstractText Label="INDICATION">Positive TB test &amp; cough</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
    </Abstract></Article>
  </MedlineCitation>
  <MeSH><major>SECRET heading</major></MeSH>
  {images}
</eCitation>
"""
IMAGE = (
    '<parentImage id="{0}"><figureId>F1</figureId><caption>SECRET caption</caption></parentImage>'
)


def _xml(number: int, findings: str, impression: str, *images: str) -> str:
    return REPORT.format(
        number=number,
        findings=findings,
        impression=impression,
        images="".join(map(IMAGE.format, images)),
    )


REPORTS = {
    "10.xml": _xml(10, "Clear lungs, XXXX.", "Normal chest.", "CXR10_IM-0002-1001"),
    "2.xml": _xml(2, "", "No change.", "CXR2_1_IM-0001-3001", "CXR2_1_IM-0001-4001"),
    "3.xml": _xml(3, "", "", "CXR3_IM-1"),
    "4.xml": _xml(4, "Clear.", "Normal."),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "iu-xray"
    (made / "ecgen-radiology").mkdir(parents=True)
    for name, text in REPORTS.items():
        (made / "ecgen-radiology" / name).write_text(text, encoding="utf-8")
    (made / "NLMCXR_png").mkdir()
    for number, name in enumerate(("CXR10_IM-0002-1001", "CXR2_1_IM-0001-3001")):
        Image.new("L", (5, 4), 10 + number).save(made / "NLMCXR_png" / f"{name}.png")
    return made


def _cases(folder: Path, split: str) -> medgym.CaseList:
    return medgym.open_cases(f"iu-xray,counts=any,data={folder}:{split}")


def test_findings_and_impression_are_the_gold(folder: Path) -> None:
    second, tenth = _cases(folder, "all")
    assert (second.id, tenth.id) == ("iu-xray/all/CXR2", "iu-xray/all/CXR10")
    assert tenth.answer == "Findings: Clear lungs, XXXX.\nImpression: Normal chest."
    assert second.answer == "Impression: No change."
    assert len(second.images) == 2
    assert tenth.answer_type == "report"
    assert tenth.group == "CXR10"
    assert open_image(tenth.images[0]).pixels[0, 0] == 10


def test_what_was_known_before_is_context_and_tags_are_nowhere(folder: Path) -> None:
    for case in _cases(folder, "all"):
        assert case.context == "Indication: Positive TB test & cough\nComparison: None."
        assert "SECRET" not in case.model_dump_json()
        assert "chest radiographs" in case.question
        assert "Normal" not in case.question


def test_reports_without_text_or_image_are_counted(folder: Path) -> None:
    assert list(_cases(folder, "all").dropped) == [
        ("3.xml", "the report has neither findings nor an impression"),
        ("4.xml", "it has no image"),
    ]


def test_the_archive_of_reports_is_read_as_it_is(folder: Path) -> None:
    before = list(_cases(folder, "all"))
    with tarfile.open(folder / "NLMCXR_reports.tgz", "w:gz") as archive:
        for name, text in REPORTS.items():
            info = tarfile.TarInfo(f"ecgen-radiology/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    (folder / "ecgen-radiology").rename(folder / "elsewhere")
    assert list(_cases(folder, "all")) == before
    path = folder / "NLMCXR_reports.tgz"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match="is no whole archive"):
        len(_cases(folder, "all"))


def test_the_copy_with_splits(folder: Path) -> None:
    rows = [
        {
            "id": "CXR2384_IM-0942",
            "report": "The heart size is normal .",
            "image_path": ["CXR2384_IM-0942/0.png", "CXR2384_IM-0942/1.png"],
            "split": "test",
        },
        {"id": "CXR1_IM-1", "report": " ", "image_path": ["CXR1_IM-1/0.png"], "split": "test"},
        {"id": "CXR5_IM-1", "report": "Clear.", "image_path": ["../../0.png"], "split": "test"},
    ]
    held = {"train": [], "val": [], "test": rows}
    (folder / "annotation.json").write_text(json.dumps(held), encoding="utf-8")
    cases = _cases(folder, "test")
    (case,) = cases
    assert (case.id, case.group) == ("iu-xray/test/CXR2384_IM-0942", "CXR2384")
    assert case.answer == "The heart size is normal ."
    assert len(case.images) == 2
    assert case.images[1].uri.endswith("/images/CXR2384_IM-0942/1.png")
    assert [why for _, why in cases.dropped] == [
        "the report is blank",
        "the image '../../0.png' names no file in images",
    ]
    with pytest.raises(UserError, match=r"3 rows \(expected 590\).*4 images \(expected 1,180\)"):
        len(medgym.open_cases(f"iu-xray,data={folder}:test"))


def test_every_result_says_that_all_holds_the_splits(folder: Path) -> None:
    assert any("all holds the studies of train" in note for note in _cases(folder, "all").notes)


def test_refusals(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 4 rows \(expected 3,955\)"):
        len(medgym.open_cases(f"iu-xray,data={folder}:all"))
    with pytest.raises(UserError, match=r"has no annotation.json or iu_xray/annotation.json"):
        len(_cases(folder, "val"))
    (folder / "ecgen-radiology" / "2.xml").write_text(REPORTS["2.xml"][:300], encoding="utf-8")
    with pytest.raises(UserError, match=r"2.xml is no whole report"):
        len(_cases(folder, "all"))
    (folder / "NLMCXR_png").rename(folder / "elsewhere")
    (folder / "ecgen-radiology" / "2.xml").unlink()
    with pytest.raises(UserError, match="has no folder NLMCXR_png; fix: unpack the images"):
        len(_cases(folder, "all"))


def test_through_the_hub(hub: Hub, folder: Path, tmp_path: Path) -> None:
    before = list(_cases(folder, "all"))
    with tarfile.open(folder / "NLMCXR_reports.tgz", "w:gz") as archive:
        archive.add(folder / "ecgen-radiology", "ecgen-radiology")
    copy = tmp_path / "data" / "iu-xray"
    copy.mkdir(parents=True)
    (copy / "NLMCXR_png").symlink_to(folder / "NLMCXR_png")
    chosen = ("NLMCXR_reports.tgz",)
    cases = fetched_cases(hub, "iu-xray", folder, "all", tmp_path / "data", files=chosen)
    assert [case.answer for case in cases] == [case.answer for case in before]
    assert open_image(cases[1].images[0]).pixels[0, 0] == 10
