"""Slabs: several images as one, and the images that a case names in a study of several."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medgym.errors import UserError
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region, part_of
from medgym.imaging.study import ImageRef, Slab, Study, Window, open_image, open_study
from medgym.source import Source

RNG = np.random.default_rng(3)
VALUES = RNG.normal(0, 300, (7, 5, 6)).astype(np.float32)
VALUES[2, 1, 1] = np.nan
HIDDEN = RNG.random(VALUES.shape) < 0.2
HIDDEN[:, 0, 0] = True


class Stack(ImagingStudy):
    """Seven images, which are decoded one at a time."""

    def __init__(self, windows: Any = None, values: Any = VALUES) -> None:
        super().__init__("a stack")
        self.wanted: list[int] = []
        self.window, self.pixels = windows, values

    @property
    def planes(self) -> Mapping[str, Plane]:
        height, width = self.pixels.shape[1:3]
        return {"axial": Plane(len(self.pixels), (width, height), (2.0, 1.0), "patient")}

    def decode(self, plane: str, index: int, region: Region) -> Study:
        self.wanted.append(index)
        image = self.pixels[index]
        if image.dtype == np.uint8:
            return part_of(Study(image), region)
        window = self.window or Window(index, 100.0)
        return part_of(Study(image, (2.0, 1.0), "CT", window, hidden=HIDDEN[index]), region)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 99])
@pytest.mark.parametrize("index", [0, 3, 6])
def test_a_slab_combines_what_was_measured(count: int, index: int) -> None:
    stack = Stack(Window(40, 400))
    places = list(Slab(count).around(index, 7))
    assert index in places
    assert len(places) <= count
    shown = np.where(HIDDEN | np.isnan(VALUES), np.nan, VALUES)[places].astype(np.float64)
    unknown = np.isnan(shown).all(axis=0)
    for how, numpys in (("mean", np.nanmean), ("maximum", np.nanmax), ("minimum", np.nanmin)):
        made = stack.slab("axial", index, Slab(count, how))  # type: ignore[arg-type]
        right = numpys(np.where(unknown, 0.0, shown), axis=0)
        assert np.array_equal(np.zeros(unknown.shape, bool) | made.hidden, unknown)
        assert np.allclose(made.pixels[~unknown], right[~unknown], rtol=0, atol=1e-4)
        assert made.window == Window(40, 400)
        assert made.spacing_mm == (2.0, 1.0)
        part = stack.slab("axial", index, Slab(count, how), (1.0, 2.0, 4.0, 5.0))  # type: ignore[arg-type]
        assert np.array_equal(part.pixels, made.pixels[2:5, 1:4], equal_nan=True)
        assert part.window == made.window
    assert set(stack.wanted) == set(places)


def test_the_mean_of_bytes_is_rounded_once_and_colours_stay_colours() -> None:
    pixels = RNG.integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
    made = Stack(values=pixels).slab("axial", 2, Slab(5))
    assert made.pixels.dtype == np.uint8
    assert np.array_equal(made.pixels, np.rint(pixels.mean(axis=0)))


def test_images_of_several_windows_are_shown_whole() -> None:
    made = Stack().slab("axial", 3, Slab(7, "maximum"))
    part = Stack().slab("axial", 3, Slab(7, "maximum"), (0.0, 0.0, 2.0, 2.0))
    assert isinstance(made.window, Window)
    held = made.pixels[~made.hidden]
    low, high = (made.window.centre + side * made.window.width / 2 for side in (-1, 1))
    assert (low, high) == pytest.approx((held.min(), held.max()))
    assert part.window == made.window


def test_a_slab_of_nothing_is_refused() -> None:
    for wrong in ({"count": 0}, {"count": 3, "how": "sum"}, {"count": 3, "where": 1}, {}):
        with pytest.raises((ValueError, TypeError)):
            Slab(**wrong)  # type: ignore[arg-type]
        with pytest.raises(ValidationError):
            ImageRef.model_validate({"uri": "stack:1", "slab": wrong})
    ref = ImageRef.model_validate_json('{"uri": "stack:1", "slab": {"count": 3}}')
    assert ref.slab == Slab(3)
    assert ImageRef.model_validate_json(ref.model_dump_json()) == ref


class Drawn(Source):
    name = "drawn"

    def cases(self, split: str) -> Any:
        return ()

    @classmethod
    def open_image(cls, ref: ImageRef) -> ImagingStudy:
        return Stack(Window(40, 400))


def test_a_source_may_open_a_study_of_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.registry.load", lambda *_: Drawn)
    ref = ImageRef(uri="drawn:1", plane="axial", index=4)
    assert isinstance(open_study(ref), Stack)
    assert np.array_equal(open_image(ref).pixels, VALUES[4])
    assert np.array_equal(open_image(ref.model_copy(update={"plane": None})).pixels, VALUES[4])
    slab = open_image(ref.model_copy(update={"slab": Slab(3)}))
    assert np.array_equal(slab.pixels, Stack().slab("axial", 4, Slab(3)).pixels)
    for wrong in ({"plane": "coronal"}, {"index": 7}, {"index": -1}, {"index": None}):
        with pytest.raises(UserError, match="fix: name one of") as error:
            open_image(ref.model_copy(update=wrong))
        assert "\n" not in str(error.value)
