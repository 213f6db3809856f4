"""Phantom volumes: what is shown first hides the kind, bit for bit, and shows where to look."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from medgym.imaging.imaging_study import ImagingStudy
from medgym.imaging.rendering import Study
from medgym.imaging.slabs import How, Slab
from medgym.imaging.study import Window, open_image
from medgym.sources.phantom.settings import SPLITS
from medgym.sources.phantom.studies import volume as volumes
from medgym.sources.phantom.studies.plan import StudyName, StudyPlan, study_plan
from medgym.sources.phantom.studies.questions import start_of
from medgym.sources.phantom.studies.signals import SIGNALS
from medgym.sources.phantom.studies.stack import image_values
from medgym.sources.phantom.studies.textures import GRIDS, KINDS, tile, view_sizes
from medgym.sources.phantom.studies.volume import PhantomVolume

SMALL = StudyName("ct-volume", 128, 8, "medium")


def plan(number: int = 5, split: str = "train", **name: int | str) -> StudyPlan:
    return study_plan(split, replace(SMALL, **name), number)  # type: ignore[arg-type]


MIDDLE = start_of(plan()).index or 0


def twins(plan: StudyPlan) -> list[PhantomVolume]:
    """The volume with each kind of lesion."""
    (finding,) = plan.findings
    kinds = [replace(plan, findings=(replace(finding, kind=kind),)) for kind in KINDS]
    return [PhantomVolume(each) for each in kinds]


def alike(plan: StudyPlan, picture: Callable[[PhantomVolume], bytes]) -> bool:
    return len({picture(volume) for volume in twins(plan)}) == 1


def whole(study: Study, side: int, window: Window | None = None) -> bytes:
    """A whole image as an episode shows it."""
    width, height = study.size
    across, down = study.true_size(width, height)
    factor = side / max(across, down)
    shown = study if window is None else replace(study, window=window)
    size = round(across * factor), round(down * factor)
    return shown.render((0, 0, width, height), size).tobytes()


@pytest.mark.parametrize("size", [128, 512, 1024])
@pytest.mark.parametrize("kind", KINDS)
def test_each_row_and_column_of_a_square_has_both_tones_equally_often(size: int, kind: str) -> None:
    grid = GRIDS[size]
    texture, side = tile(kind, grid), grid.square
    squares = texture.reshape(grid.block // side, side, grid.block // side, side)
    assert (squares.sum(axis=1) == side // 2).all()
    assert (squares.sum(axis=3) == side // 2).all()
    others = [tile(other, grid) for other in KINDS if other != kind]
    assert all((texture != other).mean() > 0.2 for other in others)


WINDOWS = (None, Window(700, 100), Window(300, 7), Window(40, 80), Window(-500, 3))


@pytest.mark.parametrize(("size", "depth"), [(128, 8), (256, 16)])
@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_no_first_view_and_no_whole_image_tells_the_kind(
    size: int, depth: int, difficulty: str
) -> None:
    seen = plan(7, size=size, depth=depth, difficulty=difficulty)
    index = seen.findings[0].first
    middle = start_of(seen).index or 0

    def views(volume: PhantomVolume) -> bytes:
        images = [volume.slab("coronal", middle, Slab(size))]
        images += [volume.slab("sagittal", middle, Slab(size, "maximum"))]
        images += [volume.image("axial", index), volume.slab("axial", index, Slab(3))]
        return b"".join(
            whole(image, side, window)
            for image in images
            for side in view_sizes(size)
            for window in WINDOWS
        )

    assert alike(seen, lambda volume: volume.slab("coronal", middle, Slab(size)).pixels.tobytes())
    assert alike(seen, views)


def test_a_texture_with_uneven_columns_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from medgym.sources.phantom.studies import stack

    def stripes(kind: str, grid: object) -> np.ndarray:  # type: ignore[type-arg]
        return tile(kind, grid) if kind != "columnar" else np.tile([0, 1], (4, 2))  # type: ignore[arg-type]

    monkeypatch.setattr(stack, "tile", stripes)
    scout = Slab(128)
    image_values.cache_clear()
    assert not alike(plan(), lambda volume: volume.slab("coronal", MIDDLE, scout).pixels.tobytes())
    image_values.cache_clear()


def test_the_scout_is_the_mean_of_all_values_and_so_are_other_slabs() -> None:
    volume = PhantomVolume(plan(difficulty="easy"))
    slabs: list[tuple[str, int, int, How]] = [
        ("coronal", MIDDLE, 128, "mean"),
        ("sagittal", MIDDLE, 128, "minimum"),
        ("coronal", 40, 11, "mean"),
        ("sagittal", 3, 30, "maximum"),
    ]
    for plane, index, count, how in slabs:
        slab = Slab(count, how)
        quick = volume.slab(plane, index, slab, (10, 1, 50, 7))
        slow = ImagingStudy.slab(volume, plane, index, slab, (10, 1, 50, 7))
        assert np.array_equal(quick.pixels, slow.pixels)
        assert quick.spacing_mm == slow.spacing_mm
        assert quick.view_sizes == (32, 64)
    values = np.stack([volume.values("coronal", index) for index in range(128)])
    scout = volume.slab("coronal", MIDDLE, Slab(128))
    assert np.array_equal(scout.pixels, values.mean(axis=0, dtype=np.float64))


@pytest.mark.parametrize("number", range(3))
def test_the_scout_shows_where_the_lesion_is(number: int) -> None:
    seen = plan(number)
    finding = seen.findings[0]
    scout = open_image(start_of(seen))
    without = PhantomVolume(replace(seen, findings=())).slab("coronal", MIDDLE, Slab(128))
    x0, _, x1, _ = seen.box_px(finding)
    brighter = scout.pixels - without.pixels > 15
    rows, columns = np.nonzero(brighter)
    assert set(rows) == {8 - 1 - finding.first}  # the head is above
    assert (columns.min(), columns.max() + 1) == (x0, x1)
    lesion, around = scout.window, without.pixels[brighter]
    assert lesion is not None
    greys = lesion.greys(scout.pixels)[brighter].astype(int) - lesion.greys(around)
    assert greys.mean() > 25


def test_the_kind_shows_close_by_on_the_right_image_and_in_the_right_window() -> None:
    for difficulty, window, shows in (
        ("medium", None, True),
        ("hard", None, False),
        ("hard", "bone", True),
    ):
        seen = plan(difficulty=difficulty)
        finding = seen.findings[0]

        def close(volume: PhantomVolume, index: int) -> bytes:
            box = seen.box_px(finding)  # noqa: B023 - called at once
            return volume.show("axial", index, box, (64, 64), window).tobytes()  # noqa: B023

        pictures = {close(volume, finding.first) for volume in twins(seen)}
        assert len(pictures) == (len(KINDS) if shows else 1)
        beside = (finding.first + 1) % seen.depth
        assert alike(seen, lambda volume, at=beside: close(volume, at))  # type: ignore[misc]


def test_the_mean_of_a_lesion_is_the_gold() -> None:
    seen = plan(11, difficulty="easy")
    finding = seen.findings[0]
    mean = SIGNALS["ct-volume"].mean(seen, finding)
    for index in finding.images:
        values = PhantomVolume(seen).values("axial", index)
        assert values[seen.mask(finding).array()].mean() == mean
    assert mean % 50 == 0


def test_only_the_images_that_are_asked_for_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counted(plan: StudyPlan, index: int) -> np.ndarray:  # type: ignore[type-arg]
        drawn.append(index)
        return image_values(plan, index)

    monkeypatch.setattr(volumes, "image_values", counted)
    volume = PhantomVolume(plan(depth=64))
    assert volume.planes["axial"].count == 64
    volume.show("axial", 40)
    assert drawn == [40]
    volume.slab("axial", 10, Slab(3))
    assert set(drawn) == {40, 9, 10, 11}
    drawn.clear()
    volume.slab("coronal", 5, Slab(100, "maximum"))
    assert sorted(set(drawn)) == list(range(64))
    assert len(drawn) == 65


def test_a_volume_has_its_place_in_the_patient() -> None:
    volume = PhantomVolume(plan())
    assert volume.planes["axial"].spacing_mm == (3.0, 3.0)
    assert volume.planes["coronal"].spacing_mm == (48.0, 3.0)
    assert volume.oblique_degrees == 0
    assert volume.image("axial", 0).unit == "HU"
    assert volume.to_patient("axial", 3.5, (64, 64)) == pytest.approx((0, 0, 0))


def test_the_pixels_are_those_that_experiments_stand_on() -> None:
    digest = hashlib.blake2b(digest_size=8)
    for split in SPLITS:
        seen = plan(3, split=split)
        digest.update(image_values(seen, seen.findings[0].first).astype("<i2").tobytes())
    assert digest.hexdigest() == "6facef75af164719"
