"""Whole slides: regions of levels against the arrays that were written."""

import builtins
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import medgym
from medgym.errors import UserError
from medgym.imaging.slides import file as slide_file
from medgym.imaging.slides.image import LevelPixels, SlideImage
from medgym.imaging.study import ImageRef, need_of, open_image
from medgym.workspace import Workspace
from tests.imaging.slides.conftest import Levels, levels_of, write_tiff


def test_a_level_is_a_plane_in_its_own_pixels(slide: Path, levels: Levels) -> None:
    study = medgym.open_study(slide)
    assert [(name, each.count, each.size) for name, each in study.planes.items()] == [
        ("level 0", 1, (512, 384)), ("level 1", 1, (256, 192)), ("level 2", 1, (128, 96))
    ]  # fmt: skip
    for number, level in enumerate(levels):
        plane = study.planes[f"level {number}"]
        assert plane.spacing_mm == pytest.approx((0.001 * 2**number, 0.0005 * 2**number))
        assert plane.spacing_origin == "patient"
        np.testing.assert_array_equal(study.values(f"level {number}", 0), level)
        box = study.values(f"level {number}", 0, (10.5, 20, 60, 55))
        np.testing.assert_array_equal(box, level[20:55, 10:60])


def test_a_slide_of_a_scanner_shows_neither_its_label_nor_its_overview(tmp_path: Path) -> None:
    levels = levels_of(256, 128, 2)
    path = tmp_path / "slide.svs"
    described = "Aperio Image Library v11.2.1\r\n256x128 (64x64) JPEG/RGB|AppMag = 40|MPP = 0.25"
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            file.write(
                level, tile=(64, 64), photometric="rgb", compression="deflate", metadata=None,
                description=described + "|Patient = Planted Name", subfiletype=number and 1,
            )  # fmt: skip
            if not number:
                thumbnail = np.zeros((20, 40, 3), np.uint8)
                file.write(thumbnail, photometric="rgb", description=described, metadata=None)
        label = np.full((30, 30, 3), 77, np.uint8)
        file.write(label, photometric="rgb", subfiletype=1, description="Aperio label 30x30",
                   metadata=None)  # fmt: skip
    study = medgym.open_study(path)
    assert [each.size for each in study.planes.values()] == [(256, 128), (128, 64)]
    assert study.planes["level 1"].spacing_mm == pytest.approx((0.0005, 0.0005))
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(study.values(f"level {number}", 0), level)


def test_an_episode_sees_level_0_and_each_view_is_drawn_from_the_level_it_needs(
    slide: Path, levels: Levels, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = slide_file.SlideFile.read

    def noted(self: Any, level: int, *rest: int) -> Any:
        read.append(level)
        return original(self, level, *rest)

    monkeypatch.setattr(slide_file.SlideFile, "read", noted)
    study = open_image(ImageRef(uri=f"file:{slide}"))
    assert study.size == (512, 384)
    assert study.modality == "SM"
    assert not read
    workspace = Workspace([study], view_size=64)
    # Pixels are twice as high as they are wide.
    assert workspace.view(0).size == (43, 64)
    assert workspace.view(0).picture.size == (43, 64)
    assert read == [2]
    near = workspace.look(0, (100.0, 50.0, 132.0, 66.0), enlarge=True, made_by="zoom")
    assert near.picture.size == (64, 64)
    assert read == [2, 0]
    shown = np.asarray(study.render((100, 50, 164, 114), (64, 64)))
    np.testing.assert_array_equal(shown, levels[0][50:114, 100:164])


def test_a_view_is_the_mean_of_its_pixels_whatever_the_level(slide: Path, levels: Levels) -> None:
    study = open_image(ImageRef(uri=f"file:{slide}"))
    for level, side in ((0, 64), (1, 128), (2, 256)):
        box = (64.0, 128.0, 64.0 + side, 128.0 + side)
        shown = np.asarray(study.render(box, (64, 64))).astype(int)
        step = 2**level
        blocks = levels[0][128 : 128 + side, 64 : 64 + side].reshape(64, step, 64, step, 3)
        assert np.abs(shown - blocks.mean(axis=(1, 3))).max() <= 1.5


def test_a_view_that_takes_many_pixels_is_drawn_in_bands(
    slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_image(ImageRef(uri=f"file:{slide}"))
    box = (3.0, 5.0, 500.0, 380.0)
    whole = np.asarray(study.render(box, (60, 50))).astype(int)
    monkeypatch.setattr("medgym.imaging.slides.image.BAND", 1000)
    assert np.abs(np.asarray(study.render(box, (60, 50))).astype(int) - whole).max() <= 1


def test_rounded_sizes_of_levels_do_not_move_a_view(tmp_path: Path) -> None:
    """OpenSlide's factors are the mean of both sides: at the far end that is half a pixel."""
    fine = np.zeros((751, 1001, 3), np.uint8)
    fine[:, 948:] = 255
    levels = [fine, fine[:750:2, :1000:2], fine[:748:4, :1000:4]]
    image = medgym.open_study(write_tiff(tmp_path / "odd.tif", levels)).image("level 0", 0)
    shown = np.asarray(image.render((900, 600, 1000, 700), (25, 25)))[5, :, 0]
    assert shown[11] <= 32  # OpenSlide mixes an eighth of the next pixel in
    assert shown[12] >= 255 - 32


def test_all_pixels_of_a_large_slide_are_never_read(
    slide: Path, levels: Levels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.imaging.slides.image.MAX_PIXELS", 100_000)
    study = medgym.open_study(slide)
    image = study.image("level 0", 0)
    assert image.size == (512, 384)
    np.testing.assert_array_equal(image.pixels[5:8, 9:11], levels[0][5:8, 9:11])
    assert study.show("level 0", 0, size=(32, 24)).size == (32, 24)
    with pytest.raises(UserError, match="are more than 100,000; fix: ask for a part"):
        study.values("level 0", 0)
    assert need_of(ImageRef(uri=f"file:{slide}")) <= 2**27


def test_a_slide_that_no_level_shows_whole_is_refused(
    slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.imaging.slides.image.MAX_PIXELS", 128 * 96 - 1)
    with pytest.raises(UserError, match="no level small enough"):
        open_image(ImageRef(uri=f"file:{slide}"))
    study = medgym.open_study(slide)
    assert study.show("level 0", 0, (0, 0, 100, 100)).size == (100, 200)


def test_a_flat_picture_stays_a_picture(tmp_path: Path, levels: Levels) -> None:
    tiled = write_tiff(tmp_path / "tiled.tif", levels[:1])
    assert list(medgym.open_study(tiled).planes) == ["image"]
    pages = tmp_path / "pages.tif"
    with tifffile.TiffWriter(pages) as file:
        for level in levels[:2]:
            file.write(level, photometric="rgb")
    assert list(medgym.open_study(pages).planes) == ["frame 0", "frame 1"]


def test_a_case_that_names_a_page_gets_it(slide: Path, levels: Levels) -> None:
    page = open_image(ImageRef(uri=f"file:{slide}", frame=1))
    np.testing.assert_array_equal(page.pixels, levels[1])


def test_a_slide_goes_to_another_process(slide: Path, levels: Levels) -> None:
    again = pickle.loads(pickle.dumps(open_image(ImageRef(uri=f"file:{slide}"))))
    assert isinstance(again, SlideImage)
    np.testing.assert_array_equal(again.pixels[:20, :30], levels[0][:20, :30])
    child = os.fork()
    if not child:
        os._exit(0 if (again.pixels[40:60, :30] == levels[0][40:60, :30]).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_slide_that_changes_while_it_is_read_is_refused(slide: Path, levels: Levels) -> None:
    image = open_image(ImageRef(uri=f"file:{slide}"))
    write_tiff(slide, levels_of(512, 384, 2))
    with pytest.raises(UserError, match="changed while it was read"):
        image.render((0, 0, 10, 10), (10, 10))


def test_half_a_slide_is_refused(slide: Path) -> None:
    whole = slide.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        slide.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError) as refused:
            open_image(ImageRef(uri=f"file:{slide}")).render((0, 0, 512, 384), (64, 48))
        assert "\n" not in str(refused.value)


def test_damaged_tiles_are_refused_in_one_line(slide: Path) -> None:
    with tifffile.TiffFile(slide) as file:
        at = file.pages[2].aspage().dataoffsets[0]
    data = bytearray(slide.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    slide.write_bytes(data)
    image = open_image(ImageRef(uri=f"file:{slide}"))
    for _ in range(2):
        with pytest.raises(UserError, match="not a readable slide"):
            image.render((0, 0, 512, 384), (64, 48))
    assert image.render((0, 0, 64, 64), (64, 64)).size == (64, 64)


@pytest.mark.parametrize("name", ["a.mrxs", "a.czi", "a.svslide", "a.vms"])
def test_what_only_its_name_calls_a_slide_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind" * 40)
    with pytest.raises(UserError, match="not a readable slide"):
        medgym.open_study(tmp_path / name)


def test_a_printing_resolution_is_no_scale(tmp_path: Path, levels: Levels) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            file.write(
                level, tile=(64, 64), photometric="rgb", subfiletype=number and 1,
                resolution=(72, 72), resolutionunit="INCH",
            )  # fmt: skip
    plane = medgym.open_study(path).planes["level 0"]
    assert (plane.spacing_mm, plane.spacing_origin) == (None, None)


def test_without_openslide_the_extra_is_named(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refused(name: str, *rest: Any) -> Any:
        if name == "openslide":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(UserError, match=re.escape("pip install 'medgym[slides]'")):
        medgym.open_study(slide)


def test_dicom_files_are_levels_of_one_slide(
    tmp_path: Path, levels: Levels, write_dicom: Callable[..., None]
) -> None:
    write_dicom(tmp_path, levels)
    (tmp_path / "notes.txt").write_text("beside")
    study = medgym.open_study(tmp_path)
    assert [each.size for each in study.planes.values()] == [(512, 384), (256, 192), (128, 96)]
    assert study.planes["level 0"].spacing_mm == pytest.approx((0.0005, 0.0005))
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(study.values(f"level {number}", 0), level)
    one = medgym.open_study(sorted(tmp_path.glob("*.dcm"))[1])
    assert list(one.planes) == ["level 0", "level 1", "level 2"]
    (tmp_path / "of.a.number.dcm").write_bytes(b"")


def test_of_several_slides_in_a_folder_a_case_names_one(
    tmp_path: Path, levels: Levels, write_dicom: Callable[..., None]
) -> None:
    write_dicom(tmp_path, levels[:2])
    write_dicom(tmp_path, levels[1:])
    with pytest.raises(UserError, match="several slides; fix: name one of") as refused:
        medgym.open_study(tmp_path)
    labels = re.findall(r"[0-9a-f]{8}(?=,|;)", str(refused.value))
    sizes = [open_image(ImageRef(uri=f"file:{tmp_path}", series=label)).size for label in labels]
    assert sorted(sizes) == [(256, 192), (512, 384)]
    with pytest.raises(UserError, match="no slide 'other'"):
        open_image(ImageRef(uri=f"file:{tmp_path}", series="other"))
    # A file of one of them says itself which is meant.
    assert len(medgym.open_study(sorted(tmp_path.glob("*.dcm"))[0]).planes) == 2


def test_pixels_say_what_arrays_say(slide: Path, levels: Levels) -> None:
    pixels: Any = open_image(ImageRef(uri=f"file:{slide}")).pixels
    assert isinstance(pixels, LevelPixels)
    assert (pixels.ndim, pixels.shape, len(pixels)) == (3, levels[0].shape, 384)
    assert pixels.tobytes() == levels[0].tobytes()
    np.testing.assert_array_equal(np.asarray(pixels), levels[0])
    np.testing.assert_array_equal(pixels[3:9, 4:5, 1], levels[0][3:9, 4:5, 1])
    assert pixels[5:5].shape == (0, 512, 3)
    for key in (3, ..., slice(0, 9, 2)):
        with pytest.raises(TypeError, match="y0:y1"):
            pixels[key]


def test_tiles_of_a_slide_in_a_zip_are_not_shown_as_frames(
    tmp_path: Path, levels: Levels, write_dicom: Callable[..., None]
) -> None:
    write_dicom(tmp_path / "slide", levels[2:])
    path = tmp_path / "slide.zip"
    with zipfile.ZipFile(path, "w") as made:
        for each in (tmp_path / "slide").iterdir():
            made.write(each, each.name)
    with pytest.raises(UserError, match="whole slide; fix: put the files"):
        medgym.open_study(path)
