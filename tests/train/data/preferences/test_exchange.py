"""Images that stand in for others: their size and mode, and noise that stays in its region."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medgym.cases import Mask, Region
from medgym.errors import UserError
from medgym.imaging.study import Box
from medgym.metrics.regions import GAZE
from medgym.train.data.preferences.coverage import coverage, covered_findings
from medgym.train.data.preferences.exchange import (
    HOW,
    WHICH,
    _crop_box,
    exchanged_images,
    with_images,
)
from medgym.trajectory import validate
from tests.train.data.preferences.made_up import Played, play

ZOOM: Box = (200, 200, 700, 800)
AGAIN: Box = (100, 0, 900, 600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


def boxes(width: int, height: int) -> st.SearchStrategy[Box]:
    """Whole or broken boxes inside a frame."""

    def pair(most: int) -> st.SearchStrategy[tuple[float, float]]:
        edge = st.integers(0, 4 * most)
        return (
            st.tuples(edge, edge)
            .filter(lambda e: e[0] != e[1])
            .map(lambda e: (min(e) / 4, max(e) / 4))
        )

    return st.tuples(pair(width), pair(height)).map(lambda e: (e[0][0], e[1][0], e[0][1], e[1][1]))


def masks(width: int, height: int) -> st.SearchStrategy[Mask]:
    """Masks of scattered pixels."""
    row = st.lists(st.booleans(), min_size=width * height, max_size=width * height)
    return row.map(lambda bits: Mask.of(np.array(bits).reshape(height, width)))


def overlap(low: Fraction, high: Fraction, start: Fraction, end: Fraction) -> Fraction:
    return max(Fraction(0), min(high, end) - max(low, start))


def exact(region: Region, box: Box, size: tuple[int, int], x: int, y: int) -> Fraction:
    """The share of one pixel of a view that a region covers, cell by cell."""
    x0, y0, x1, y1 = map(Fraction, box)
    across, down = (x1 - x0) / size[0], (y1 - y0) / size[1]
    left, top = x0 + x * across, y0 + y * down
    if region.mask is None:
        cells = [tuple(map(Fraction, region.box_px))]
    else:
        rows, columns = np.nonzero(region.mask.array())
        cells = [
            tuple(map(Fraction, (c, r, c + 1, r + 1)))
            for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
    shared = (
        overlap(left, left + across, a, c) * overlap(top, top + down, b, d) for a, b, c, d in cells
    )
    return sum(shared, Fraction(0)) / (across * down)


@settings(max_examples=40)
@given(
    region=st.one_of(
        boxes(9, 7).map(lambda box: Region(label="lesion", box_px=box)),
        masks(9, 7).map(lambda m: Region(label="lesion", box_px=(0, 0, 9, 7), mask=m)),
    ),
    box=boxes(9, 7),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_coverage_is_the_share_of_each_pixel(
    region: Region, box: Box, size: tuple[int, int]
) -> None:
    found = coverage([region], 0, box, size)
    for y in range(size[1]):
        for x in range(size[0]):
            assert found[y, x] == pytest.approx(float(exact(region, box, size, x, y)), abs=2e-6)
    assert not coverage([region], 1, box, size).any()


@settings(max_examples=15)
@given(
    region=st.one_of(
        boxes(40, 30).map(lambda box: Region(label="lesion", box_px=box)),
        st.tuples(st.integers(0, 30), st.integers(0, 20)).map(
            lambda at: Region(label="lesion", box_px=(0, 0, 40, 30), mask=disc(*at))
        ),
    ),
    first=boxes(1000, 1000),
    second=boxes(1000, 1000),
)
def test_noise_stays_in_the_region_to_the_pixel(
    folder: Path, region: Region, first: Box, second: Box
) -> None:
    played = play(folder, [region], [first, second])
    found = changed(played)
    shown = [use for node in played.trajectory.nodes for use in node.images]
    for use in shown:
        own = played.images[use.sha256]
        share = covered_findings(played.case, played.trajectory, use.view, own.size)
        for number in range(own.width * own.height):
            y, x = divmod(number, own.width)
            if use.sha256 in found and found[use.sha256][y, x]:
                box = (
                    (0, 0, 40, 30)
                    if use.view == 0
                    else played.trajectory.looks[use.view - 1].box_px
                )
                assert exact(region, box, own.size, x, y) > 0
        if (share > 0.5).sum() > 8:
            assert found[use.sha256][share > 0.5].mean() > 0.9


def disc(left: int, top: int) -> Mask:
    """A disc of five pixels' radius."""
    rows, columns = np.ogrid[:30, :40]
    return Mask.of((rows - top - 4.5) ** 2 + (columns - left - 4.5) ** 2 <= 25)


def changed(played: Played, seed: int = 0) -> dict[str, np.ndarray]:
    """Which pixels noise changes, by the image's hash."""
    found = exchanged_images(
        played.trajectory, which="all", how="noise", case=played.case,
        image=played.images.__getitem__, rng=np.random.default_rng(seed),
    )  # fmt: skip
    return {
        name: (np.asarray(new) != np.asarray(played.images[name])).any(axis=-1)
        for name, new in found.items()
    }


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("which", WHICH)
def test_size_mode_and_tokens_stay(tmp_path: Path, which: str, how: str) -> None:
    played, other = (
        play(tmp_path, [Region(label="lesion", box_px=(12, 9, 22, 20))], [ZOOM, AGAIN], seed=seed)
        for seed in (0, 1)
    )
    images = {**played.images, **other.images}

    def made(seed: int) -> dict[str, Image.Image]:
        return exchanged_images(
            played.trajectory, which=which, how=how, case=played.case, image=images.__getitem__,
            others=list(other.images), rng=np.random.default_rng(seed),
        )  # fmt: skip

    found = made(3)
    views = [node.images[0].sha256 for node in played.trajectory.nodes if node.images]
    assert list(found) == {"all": views, "views": views[1:], "overview": views[:1]}[which]
    for name, new in found.items():
        assert (new.size, new.mode) == (images[name].size, images[name].mode)
        assert new.tobytes() != images[name].tobytes()
    again, others = made(3), made(4)
    assert all(new.tobytes() == again[name].tobytes() for name, new in found.items())
    if how != "blank" and (how, which) != ("other", "overview"):
        assert any(new.tobytes() != others[name].tobytes() for name, new in found.items())

    episode = with_images(played.trajectory, found, played.keep)
    validate(episode)
    assert episode.kind == "demonstration"
    assert episode.reward is None
    for before, after in zip(played.trajectory.nodes, episode.nodes, strict=True):
        assert before.token_ids == after.token_ids
        assert not after.logprobs
        for old, new in zip(before.images, after.images, strict=True):
            assert (old.view, old.tokens) == (new.view, new.tokens)
            assert (old.sha256 != new.sha256) == (old.sha256 in found)


@settings(max_examples=30)
@given(width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 1000))
def test_a_crop_keeps_1_to_20_percent(width: int, height: int, seed: int) -> None:
    x0, y0, x1, y1 = _crop_box((width, height), np.random.default_rng(seed))
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert 0.01 - 1e-9 <= (x1 - x0) * (y1 - y0) / (width * height) <= 0.2 + 1e-9


def test_a_picture_that_a_tool_repeats_belongs_to_the_start(tmp_path: Path) -> None:
    played = play(tmp_path, size=(16, 12))
    whole = play(tmp_path, [], [(0, 0, 1000, 1000)], size=(16, 12))
    assert set(whole.images) == set(played.images)
    assert not exchanged_images(
        whole.trajectory, which="views", how="blank", image=whole.images.__getitem__,
        rng=np.random.default_rng(0),
    )  # fmt: skip


def test_what_shows_no_region_is_left_alone(tmp_path: Path) -> None:
    lesion = Region(label="lesion", box_px=(0, 0, 6, 6))
    far: Box = (600, 600, 1000, 1000)
    played = play(tmp_path, [lesion], [far])
    overview = next(iter(played.images))
    assert list(changed(played)) == [overview]
    assert not changed(play(tmp_path, [Region(label=GAZE, box_px=(0, 0, 6, 6))], [far]))
    assert not changed(play(tmp_path, [], [far]))


def test_two_patients_are_needed(tmp_path: Path) -> None:
    played = play(tmp_path)
    with pytest.raises(UserError, match="two patients"):
        exchanged_images(
            played.trajectory, which="all", how="other", image=played.images.__getitem__,
            rng=np.random.default_rng(0),
        )  # fmt: skip
