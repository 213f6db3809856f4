"""Every file that pydicom ships is opened as pydicom reads it, or refused by name.

The table in docs/formats.md is written by this test: `WRITE_FORMATS=1 pytest -n0 FILE`.
"""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    apply_windowing,
    pixel_array,
)

import medgym
from medgym.errors import UserError

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
BEGIN, END = "<!-- files of pydicom -->\n", "<!-- end -->"
HEAD = "| file | what medgym makes of it |\n|---|---|\n"
FRAMES = 3
"""Of a file of many frames so many are compared."""


def files() -> Iterator[Path]:
    """The files that are here; others pydicom would download."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in ("", ".dcm"):
            yield path


def oracle(path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The values and the levels of a frame, as pydicom calculates them."""
    dataset = pydicom.dcmread(path, force=True)
    stored = pixel_array(dataset, index=index)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return (colours >> 8,) * 2 if colours.dtype == np.uint16 else (colours,) * 2
    if stored.ndim == 3:
        return stored, stored / (2.0**dataset.BitsStored - 1) * 255
    values = apply_modality_lut(stored, dataset) * float(dataset.get("DoseGridScaling") or 1)
    levels = grey_levels(values, dataset)
    return values, 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def grey_levels(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """What pydicom's table or window makes of values, from 0 to 255."""
    if "VOILUTSequence" in dataset:
        bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
        return apply_voi_lut(values, dataset) / (2.0**bits - 1) * 255
    if "WindowCenter" in dataset:
        ends = np.concatenate([values.ravel(), [-1e9, 1e9]])
        shown = apply_windowing(ends, dataset)
        low, high = shown[-2:]
        return (shown[:-2].reshape(values.shape) - low) / (high - low) * 255
    low, high = (0, 1) if dataset.BitsStored == 1 else (values.min(), values.max())
    return (values - low) / max(high - low, 1e-300) * 255


def told(path: Path) -> str:
    """What medgym makes of a file; an assertion fails where pydicom makes another thing of it."""
    try:
        study = medgym.open_study(path)
        ((name, plane),) = study.planes.items()
        for index in range(min(plane.count, FRAMES)):
            got = study.values(name, index)
            values, levels = oracle(path, index)
            assert np.allclose(got, values, rtol=1e-6), path
            shown = np.asarray(study.show(name, index, size=plane.size), np.float64)
            shown = shown if levels.ndim == 3 else shown[..., 0]
            assert np.abs(shown - levels).max() <= 0.5 + 1e-6, path
    except UserError as error:
        text = str(error)
        assert text.count(str(path)) == 1
        assert "fix: " in text
        assert "\n" not in text
        return "refused: " + text.replace(str(path), "it")
    image = study.image(name, 0)
    unit = f", {image.unit}" if image.unit else ", colours" if image.pixels.ndim == 3 else ""
    millimetres = "" if plane.spacing_mm is None else ", {:g} x {:g} mm".format(*plane.spacing_mm)
    millimetres += " at the detector" if plane.spacing_origin == "detector" else ""
    frames = "" if plane.count == 1 else f", {plane.count} frames"
    return f"{plane.size[0]} x {plane.size[1]}{frames}{unit}{millimetres}"


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
    table = HEAD + "".join(f"| `{name}` | {text} |\n" for name, text in pixels.items())
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    wanted = before + BEGIN + table + END + rest.partition(END)[2]
    if os.environ.get("WRITE_FORMATS"):
        PAGE.write_text(wanted, "utf-8")
    # Another pydicom ships other files.
    missing = [line for line in table.splitlines() if line not in page]
    assert not missing or os.environ.get("WRITE_FORMATS"), "the table is old; fix: WRITE_FORMATS=1"
