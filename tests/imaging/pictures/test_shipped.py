"""Pictures of scikit-image, and odd ones: opened as their own libraries read them, or refused.

The tables in docs/formats.md are written by these tests: `WRITE_FORMATS=1 pytest -n0 FILE`.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import skimage
import tifffile
from PIL import Image

import medgym
from medgym.errors import UserError
from tests.imaging import formats
from tests.imaging.odd_pictures import FORMS

FOLDER = Path(skimage.__file__).parent / "data"
PICTURES = {".png", ".jpg", ".tif", ".gif"}


def told(path: Path, values: np.ndarray, *, white: bool = False) -> str:
    """What medgym makes of a picture; an assertion fails where it has other values."""
    try:
        study = medgym.open_study(path)
        plane = next(iter(study.planes))
        got = study.image(plane, 0).pixels
    except UserError as error:
        return formats.refused(error, path)
    if got.ndim > values.ndim:  # a palette of greys is one of colours too
        values = np.dstack([values] * 3)
    assert np.array_equal(got, values), path
    exact = values.astype(np.float64)
    if values.dtype != np.uint8:
        exact = (exact - exact.min()) / np.ptp(exact) * 255
    shown = np.asarray(study.show(plane, 0), np.float64)
    shown = shown if exact.ndim == 3 else shown[..., 0]
    assert np.abs(shown - (255 - exact if white else exact)).max() <= 0.5 + 1e-6, path
    return formats.described(study)


def read(path: Path) -> np.ndarray:
    """What scikit-image's own libraries read."""
    if path.suffix == ".tif":
        pixels = np.asarray(tifffile.imread(path, key=0))
        return np.moveaxis(pixels, 0, -1) if pixels.shape[0] == 3 else pixels
    with Image.open(path) as picture:
        deep = path.name == "chessboard_RGB.png"  # Pillow gives the upper byte of its two
        mode = "RGB" if picture.mode in ("P", "RGBA") else "L" if picture.mode == "LA" else None
        pixels = np.asarray(picture.convert(mode) if mode else picture)
    return np.asarray(pixels) if not deep else medgym_values(path, pixels)


def medgym_values(path: Path, upper: np.ndarray) -> np.ndarray:
    """16 bits of colour, of which Pillow reads the upper byte."""
    got = medgym.open_study(path).image("image", 0).pixels
    assert got.dtype == np.uint16
    assert np.array_equal(got >> 8, upper)
    return got


def test_every_picture_of_scikit_image_is_opened_right() -> None:
    paths = [path for path in sorted(FOLDER.glob("*")) if path.suffix in PICTURES]
    found = {path.name: told(path, read(path)) for path in paths}
    assert len(paths) > 25
    assert not [name for name, text in found.items() if "refused" in text]
    formats.check("files of scikit-image", found)


def test_odd_pictures_are_opened_right_or_refused_by_name(tmp_path: Path) -> None:
    opened, refused = defaultdict(list), {}
    for name, make in FORMS.items():
        data, values = make()
        (tmp_path / "a").write_bytes(data)
        text = told(tmp_path / "a", values, white="white is zero" in name)
        if text.startswith("refused"):
            refused[name] = text
        else:
            form, _, kind = name.partition(", ")
            opened[form].append(kind or "8 bits")
    assert len(refused) < 10
    found = {form: f"value for value: {'; '.join(kinds)}" for form, kinds in opened.items()}
    formats.check("odd pictures", found | refused, ticks=False)
