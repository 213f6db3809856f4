"""The source `dicom`: studies of a folder by their folder, file or UID."""

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from medgym.cases import CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.opened import opened_image
from medgym.imaging.study import open_study

from .conftest import table

UID = "1.2.826.0.1.3680043.8.498."


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two studies: one of two series in one folder, and one of a single file."""
    file = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    folder = tmp_path / "the studies"
    for study, series, number in ((1, 1, 0), (1, 1, 1), (1, 2, 0), (1, 2, 1), (2, 3, 0)):
        file.StudyInstanceUID, file.SeriesInstanceUID = f"{UID}1{study}", f"{UID}2{series}"
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"{UID}3{series}{number}"
        file.SeriesNumber, file.InstanceNumber = 9 - series, number
        file.PatientID = f"secret {study}"
        file.ImagePositionPatient = [0, 0, 5 * number]
        place = folder / f"study {study}" / f"{series}-{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(place)
    (folder / "study 1" / "notes.txt").write_text("no image")
    return folder


def asked(studies: Path, *names: str, header: str = "study,question,answer") -> CaseList:
    text = "\n".join([header, *(f"{name},How many?,4" for name in names)])
    path = table(studies.parent, text)
    return open_cases(f"dicom,path={studies},questions={path}:all")


def test_a_study_is_named_by_its_folder_its_file_or_a_uid(studies: Path) -> None:
    names = ("study 2", "study 2/3-0.dcm", f"{UID}12", f"{UID}23", f"{UID}330")
    cases = asked(studies, *names, f"{UID}11", f"{UID}21", f"study 2|{UID}22")
    assert [len(case.images) for case in cases] == [1, 1, 1, 1, 1, 2, 1, 2]
    assert {case.modality for case in cases} == {"CT"}
    for case in cases:
        for ref in case.images:
            study = open_study(ref)
            assert sum(plane.count for plane in study.planes.values()) >= 1
    both = cases[5].images  # by the number of the series, so the second one is first
    assert both[0] == cases[7].images[1]
    assert both[1] == cases[6].images[0]
    assert both[0].series != both[1].series
    assert open_study(both[0]).planes["axial"].count == 2


def test_a_group_is_a_patient_and_names_no_one(studies: Path) -> None:
    cases = asked(studies, "study 2", f"{UID}23", "study 1/1-0.dcm", f"{UID}22")
    groups = [case.group for case in cases]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert not any("secret" in case.model_dump_json() for case in cases)
    (case,) = asked(studies, "study 2,P7", header="study,patient,question,answer")
    assert case.group == "P7"


def test_what_is_not_there_is_dropped_and_named(studies: Path) -> None:
    cases = asked(studies, "study 2", "study 3", f"{UID}99")
    assert len(cases) == 1
    assert [reason for _, reason in cases.dropped] == [
        f"the image '{name}' (column 'study') is no file, folder or UID in {studies}"
        for name in ("study 3", f"{UID}99")
    ]
    with pytest.raises(UserError, match="fix: write dicom,path=DIR,questions=FILE:all"):
        open_cases(f"dicom,path={studies}:all")
    with pytest.raises(UserError, match="there is no folder nowhere of studies"):
        open_cases("dicom,path=nowhere,questions=x.csv:all")


def test_a_series_that_lies_in_several_folders_is_whole(studies: Path) -> None:
    (studies / "study 1/more").mkdir()
    (studies / "study 1/1-1.dcm").rename(studies / "study 1/more/1-1.dcm")
    (studies / "study 2/more").mkdir()
    (studies / "study 1/2-1.dcm").rename(studies / "study 2/more/2-1.dcm")
    for case in asked(studies, f"{UID}21", f"{UID}22"):
        assert open_study(case.images[0]).planes["axial"].count == 2


def test_localisers_are_an_image_each_and_a_report_is_none(studies: Path) -> None:
    file = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    file.StudyInstanceUID, file.SeriesInstanceUID = f"{UID}11", f"{UID}24"
    turned = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    for number, orientation in enumerate(turned):
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"{UID}34{number}"
        file.SeriesNumber, file.ImageOrientationPatient = 1, orientation
        file.save_as(studies / "study 1" / f"localiser {number}.dcm")
    report = pydicom.dcmread(str(get_testdata_file("reportsi.dcm")))
    report.StudyInstanceUID, report.SeriesInstanceUID = f"{UID}11", f"{UID}25"
    report.save_as(studies / "study 1" / "report.dcm")
    whole, series = asked(studies, f"{UID}11", f"{UID}24")
    assert whole.images[:3] == series.images
    assert len(whole.images) == 5
    starts = [opened_image(ref) for ref in whole.images]
    assert {next(iter(each.study.planes)) for each in starts[:3]} == {
        "axial",
        "coronal",
        "sagittal",
    }
    assert [each.has_many for each in starts] == [False] * 3 + [True] * 2
