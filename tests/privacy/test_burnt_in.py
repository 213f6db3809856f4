"""Text that is burnt into pixels is found and masked, in real images."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from pydicom.data import get_testdata_file

import medgym
from medgym.imaging.imaging_study import Region
from medgym.privacy.burnt_in import masked, outside
from medgym.privacy.scrub import scrub

from .conftest import ct, save

pytest.importorskip("rapidocr")
pytest.importorskip("onnxruntime")


def covers(boxes: Any, wanted: Region) -> bool:
    """Whether boxes cover all but the edge of a text."""
    size = wanted[2] + 2, wanted[3] + 2
    inner = ~outside(size, boxes)[wanted[1] + 1 : wanted[3] - 1, wanted[0] + 1 : wanted[2] - 1]
    return bool(inner.mean() > 0.98)


@pytest.mark.slow
def test_the_text_of_an_ultrasound_image_is_masked(tmp_path: Path) -> None:
    """A real image: its hospital, its codes and its scales are written into it."""
    source = Path(get_testdata_file("examples_rgb_color.dcm", download=False))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "us.dcm").write_bytes(source.read_bytes())
    (file,) = scrub(tmp_path / "in", tmp_path / "out", mask_text=True).files
    boxes = file.cleaned.boxes
    assert file.out is not None
    for text in ((8, 11, 86, 21), (8, 19, 46, 29), (122, 178, 181, 189), (198, 227, 310, 236)):
        assert covers(boxes, text)
    assert boxes is not None
    before, after = (
        medgym.open_study(path).values("image", 0) for path in (source, tmp_path / "out" / file.out)
    )
    kept = outside((320, 240), boxes)
    assert np.array_equal(before[kept], after[kept])
    assert not after[~kept].any()
    assert kept[90:170, 60:260].mean() > 0.97  # the tissue stays


@pytest.mark.slow
def test_rendered_names_are_masked_in_a_picture_and_in_dicom(tmp_path: Path) -> None:
    real = np.array(skimage.data.moon())[100:356, 100:356]
    picture = Image.fromarray(real)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    draw.text((8, 6), "ZEBEDEUS, QUIRINA", 255, font)
    draw.text((120, 232), "MRN 0081723", 20, font)
    written = (8, 9, 140, 20), (120, 236, 215, 246)
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / "a.jpg", quality=95)
    pixels = np.array(picture).astype(np.uint16) * 16
    save(ct(pixels, BurnedInAnnotation="YES"), tmp_path / "in" / "b.dcm")
    save(ct(real.astype(np.uint16), BurnedInAnnotation="YES"), tmp_path / "in" / "c.dcm")
    report = scrub(tmp_path / "in", tmp_path / "out", mask_text=True)
    assert [each.out for each in report.files] == ["000001.png", "000002.dcm", None]
    assert "text is burnt into its pixels, and none was found" in report.files[2].reason
    for file, original in zip(report.files, ("a.jpg", "b.dcm"), strict=False):
        boxes = file.cleaned.boxes
        assert boxes
        assert all(covers(boxes, text) for text in written)
        before, after = (
            medgym.open_study(tmp_path / path).values("image", 0)
            for path in (f"in/{original}", f"out/{file.out}")
        )
        kept = outside((256, 256), boxes)
        assert np.array_equal(before[kept], after[kept])
        assert len(np.unique(after[~kept])) == 1
        assert kept.mean() > 0.85
    header = pydicom.dcmread(tmp_path / "out" / "000002.dcm")
    assert header.BurnedInAnnotation == "YES"  # no OCR finds all


@pytest.mark.parametrize(
    ("shape", "black"), [((4, 6), 0), ((2, 4, 6), 7), ((4, 6, 3), (0, 0, 0)), ((2, 4, 6, 3), 9)]
)
def test_a_mask_covers_its_box_in_all_frames(shape: Any, black: Any) -> None:
    pixels = np.full(shape, 50, np.uint8)
    if shape[-1] == 3:
        black = np.broadcast_to(black, 3)
    got = masked(pixels, [(1, 0, 3, 2)], black)
    frames = got.reshape(-1, 4, 6, *shape[shape.index(6) + 1 :])
    assert (frames[:, :2, 1:3] == black).all()
    kept = outside((6, 4), [(1, 0, 3, 2)])
    assert (frames[:, kept] == 50).all()
    assert (pixels == 50).all()
