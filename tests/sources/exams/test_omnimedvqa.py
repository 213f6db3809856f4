"""OmniMedVQA, in the published layout."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.scorer import grade
from medgym.sources.exams.modalities import modality_code
from tests.serving.hub import Hub, fetched_cases
from tests.sources.exams import fixtures

ODD = "Images/Chest CT Scan/a%20b..c d#.png"


def _item(number: int, **changed: Any) -> dict[str, Any]:
    row = {
        "dataset": "Chest CT Scan",
        "question_id": f"Chest CT Scan_{number:04}",
        "question_type": "Disease Diagnosis",
        "question": "What is wrong?",
        "gt_answer": "effusion",
        "image_path": f"Images/Chest CT Scan/{number}.png",
        "option_A": "nothing",
        "option_B": "effusion",
        "option_C": "a mass",
        "option_D": "a cyst",
        "modality_type": "OCT (Optical Coherence Tomography",
    } | changed
    return {name: value for name, value in row.items() if value is not None}


OPEN = [
    _item(0, image_path=ODD),
    _item(1, option_C=None, option_D=None, modality_type="unknown"),
    _item(2, option_D="effusion", modality_type=None, modality="CT(Computed Tomography)"),
    _item(3, gt_answer="Effusion. "),
    _item(4, gt_answer="a fracture"),
    _item(0),
]
RESTRICTED = [_item(0, image_path="Images/MIMIC/secret.png")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = "OmniMedVQA"
    members = {
        f"{top}/{ODD}": fixtures.encoded(70),
        f"{top}/Images/Chest CT Scan/1.png": fixtures.encoded(71),
        f"{top}/QA_information/Open-access/Chest CT Scan.json": json.dumps(OPEN).encode(),
        f"{top}/QA_information/Restricted-access/MIMIC.json": json.dumps(RESTRICTED).encode(),
    }
    fixtures.packed(tmp_path / "OmniMedVQA.zip", members)
    return tmp_path


@pytest.mark.parametrize("unpacked", [False, True])
def test_items_whose_images_are_shipped_are_read(folder: Path, unpacked: bool) -> None:
    if unpacked:
        with zipfile.ZipFile(folder / "OmniMedVQA.zip") as archive:
            archive.extractall(folder)
        (folder / "OmniMedVQA.zip").unlink()
    cases = open_cases(f"omnimedvqa,counts=any,data={folder}:all")
    odd, two, twice, near = cases
    assert odd.id == "omnimedvqa/all/Chest CT Scan/Chest CT Scan_0000"
    assert (odd.group, odd.modality) == (ODD, "OPT")
    assert [fixtures.grey(case.images[0]) for case in (odd, two)] == [70, 71]
    assert (two.options, two.answer, two.modality) == (("nothing", "effusion"), "effusion", None)
    assert twice.modality == "CT"
    assert grade(twice, "B").right
    assert grade(twice, "D").right
    assert near.answer == "effusion"
    (place, reason), *others = cases.dropped
    assert place == "row 5 of Open-access/Chest CT Scan.json"
    assert reason.startswith("the answer 'a fracture' is none of its options")
    assert others == [
        (
            "row 6 of Open-access/Chest CT Scan.json",
            "an earlier item has its question_id 'Chest CT Scan/Chest CT Scan_0000'",
        ),
        ("row 1 of Restricted-access/MIMIC.json", "its image is not shipped (restricted access)"),
    ]


def test_another_count_is_refused(folder: Path) -> None:
    with pytest.raises(UserError) as failed:
        open_cases(f"omnimedvqa,data={folder}:all")
    said = "6 rows (expected 88,996); 6 images (expected 82,059) (inferred); fix: "
    assert said in str(failed.value)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MR (Mag-netic Resonance Imaging)", "MR"),
        ("CT(Computed Tomography)", "CT"),
        ("X-Ray", "DX"),
        ("ultrasound", "US"),
        ("Fundus Photography", "OP"),
        ("unknown", None),
        ("", None),
    ],
)
def test_modalities_become_codes(name: str, code: str | None) -> None:
    assert modality_code(name) == code


def test_a_fetched_copy_is_read(hub: Hub, folder: Path) -> None:
    cases = fetched_cases(hub, "omnimedvqa", folder, "all", folder / "data")
    assert fixtures.grey(cases[0].images[0]) == 70
