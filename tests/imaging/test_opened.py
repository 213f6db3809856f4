"""Opened images: what is kept of a study of many, and what travels to another process."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.errors import ToolError
from medgym.imaging import opened as opened_images
from medgym.imaging.grey import Window
from medgym.imaging.opened import ImagePlace, OpenedImage, Sent, opened_image
from medgym.imaging.reach import KEPT, WORKING, reach_need
from medgym.imaging.study import ImageRef, Slab, Study
from medgym.testing import PlainVolume

VALUES = np.random.default_rng(2).normal(0, 300, (6, 8, 10)).astype(np.float32)


class Counting(PlainVolume):
    """Notes what is read."""

    read: list[tuple[str, int]]

    def decode(self, plane: str, index: int, region: tuple[int, int, int, int]) -> Study:
        self.read.append((plane, index))
        return super().decode(plane, index, region)


@pytest.fixture
def volume() -> Counting:
    made = Counting(VALUES)
    made.read = []
    return made


def opened(volume: PlainVolume) -> OpenedImage:
    return OpenedImage(volume, ImagePlace("axial", 2), volume.image("axial", 2))


def test_each_slice_is_read_once_while_it_is_kept(
    volume: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = opened(volume)
    volume.read.clear()
    place = ImagePlace("axial", 4)
    window = ImagePlace("axial", 4, None, Window(0, 10))
    assert image.at(ImagePlace("axial", 2)) is image.start
    assert image.at(place) is image.at(place)
    assert np.shares_memory(image.at(window).pixels, image.at(place).pixels)
    assert np.shares_memory(
        image.at(ImagePlace("axial", 2, None, Window(0, 10))).pixels, image.start.pixels
    )
    assert volume.read == [("axial", 4)]
    monkeypatch.setattr(opened_images, "KEPT", 3 * VALUES[0].nbytes)
    for index in (0, 1, 3, 5):
        image.at(ImagePlace("axial", index))
    kept = sum(study.pixels.nbytes for study in image._kept.values())
    assert kept <= 3 * VALUES[0].nbytes
    image.at(place)
    assert volume.read.count(("axial", 4)) == 2


def test_what_travels_is_the_first_image_and_is_unpacked_once(volume: Counting) -> None:
    image = OpenedImage(PlainVolume(VALUES), ImagePlace("axial", 2), volume.image("axial", 2))
    sent = pickle.dumps(Sent(image))
    opened_images._UNPACKED.clear()  # as another process has none
    there, again = pickle.loads(sent), pickle.loads(sent)
    assert there is again
    assert there is not image
    assert there.place == image.place
    assert there.planes == image.planes
    assert np.array_equal(there.start.pixels, VALUES[2])
    place = ImagePlace("coronal", 3, Slab(2))
    assert np.array_equal(there.at(place).pixels, image.at(place).pixels)


def test_a_written_workspace_names_no_file(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "pneumonia.png")
    image = opened_image(ImageRef(uri=f"file:{tmp_path}/pneumonia.png"))
    assert b"pneumonia" not in pickle.dumps(image)
    assert b"pneumonia" in pickle.dumps(Sent(image))
    assert pickle.loads(pickle.dumps(image)) is image


def test_memory_counts_what_can_be_reached(volume: Counting) -> None:
    assert reach_need(OpenedImage.of(Study(np.zeros((9, 9), np.uint8))).planes) == 0
    size = 8 * 10
    assert reach_need(volume.planes) == WORKING * size + 2 * 8 * VALUES.size
    many = {"axial": volume.planes["axial"].__class__(2000, (512, 512))}
    assert reach_need(many) == WORKING * 512 * 512 + KEPT


def test_a_region_is_the_same_part_of_the_image_in_its_window(volume: Counting) -> None:
    image = opened(volume)
    place = ImagePlace("coronal", 3, Slab(3), Window(0, 10))
    part = image.region(place, (2.0, 1.0, 7.5, 4.0))
    assert np.array_equal(part.pixels, image.at(place).pixels[1:4, 2:8])
    assert part.window == Window(0, 10)
    assert image.spacing(place, (2.0, 1.0, 7.0, 4.0)) == ((2.0, 1.0), "patient")
    assert image.aspect(place) == 2.0
    assert image.seconds(place) is None


def test_a_region_of_too_many_pixels_is_refused(
    volume: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_images, "WHOLE", 30)
    image = opened(volume)
    for index in (2, 3):
        place = ImagePlace("axial", index)
        with pytest.raises(ToolError, match=r"region of 8 x 4 pixels.*; expected less"):
            image.region(place, (0.0, 0.0, 8.0, 4.0))
        part = image.region(place, (1.0, 2.0, 7.0, 6.0))
        assert np.array_equal(part.pixels, VALUES[index, 2:6, 1:7])
