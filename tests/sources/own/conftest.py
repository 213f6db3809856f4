"""A stranger's table: twelve rows as people have them, with the images that they name."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

HEADER = 'Patient ID,Image Path,Question,"Option A","Option B",Option C,Answer,Split'
ROWS = [
    'P1,scans/a%20 b.png,"Is there an effusion, on the left?",yes,no,,yes,train',
    "P1,scans/a%20 b.png,Which side?,left,right,both,left,train",
    'P2,scans/ct.dcm,"What does the arrow ""show""?",nodule,None,NA,None,train',
    'P2,scans/ct.dcm,"Two lines\r\nin one cell?",yes,no,,no,train',
    "P3,scans/Röntgen #3.png,Which number is on the plate?,007,7,70,007,train",
    "P3,scans/Röntgen #3.png,Is it normal?,yes,no,,,train",
    "P4,,Is it normal?,yes,no,,no,test",
    "P4,scans/d.png,,yes,no,,no,test",
    "P5,scans/d.png,Which lobe?,upper,middle,lower,left,test",
    "P5,scans/d.png,Which lobe?,upper,middle,lower,Lower,test",
    "P6,scans/e.png,Is it normal?,yes,no,,yes,test",
    "P6,scans/ct.dcm,Is it normal?,yes,no,,no,test",
]
"""Six of the twelve make a case of the split `train`, less one, and six of `test`, less three."""


def table(folder: Path, text: str, name: str = "questions.csv", encoding: str = "utf-8") -> str:
    """The path of a table that holds a text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return str(path)


@pytest.fixture
def stranger(tmp_path: Path) -> str:
    """The folder of the stranger's table, with a blank, a comma and brackets in its name."""
    folder = tmp_path / "My data, v2 [final] 100%"
    scans = folder / "scans"
    scans.mkdir(parents=True)
    for number, name in enumerate(("a%20 b.png", "Röntgen #3.png", "d.png", "e.png")):
        grey = np.arange(48 * 64).reshape(48, 64) * (number + 1) % 256
        Image.fromarray(grey.astype(np.uint8)).save(scans / name)
    found = get_testdata_file("CT_small.dcm")
    pydicom.dcmread(str(found)).save_as(scans / "ct.dcm")
    return table(folder, "\r\n".join([HEADER, *ROWS]) + "\r\n", encoding="utf-8-sig")
