"""Every file that pydicom ships is opened as pydicom reads it, or refused by name.

The table in docs/formats.md is written by this test: `WRITE_FORMATS=1 pytest -n0 FILE`.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from tests.imaging import formats
from tests.imaging.dicom.oracle import told


def files() -> Iterator[Path]:
    """The files that are here; others pydicom would download."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in ("", ".dcm"):
            yield path


@pytest.mark.filterwarnings("ignore")
def test_every_file_of_pydicom_is_opened_right_or_refused_by_name() -> None:
    found = {
        "/".join(path.parts[path.parts.index("test_files") + 1 :]): told(path) for path in files()
    }
    opened = [name for name, text in found.items() if not text.startswith("refused")]
    assert len(opened) >= 45
    if importlib.util.find_spec("gdcm") is not None:
        return  # the table is that of an installation without the extra
    pixels = {
        name: text
        for name, text in found.items()
        if "without pixels" not in text and "DICOMDIR" not in name
    }
    formats.check("files of pydicom", pixels)
