"""Corruptions change pixels of any depth, in their own range, and nothing else of an image."""

import numpy as np
import pytest

from medgym.evals.robustness.corruptions.apply import BLANK, ImageChange
from medgym.evals.robustness.corruptions.severities import (
    CORRUPTIONS,
    FAMILIES,
    SEVERITIES,
    STRENGTHS,
    kind_of,
    strengths,
)
from medgym.imaging.study import LookupTable, Study, Window


def grey(side: int = 48) -> Study:
    """A CT slice: soft tissue in air with bone, some of it beyond the window."""
    rng = np.random.default_rng(0)
    pixels = np.full((side, side + 8), -1000.0, np.float32)
    pixels[8:40, 8:40] = rng.normal(40, 20, (32, 32))
    pixels[16:24, 16:24] = 1200
    hidden = np.zeros(pixels.shape, np.bool_)
    hidden[:, -8:] = True
    pixels[0, 0] = np.nan
    return Study(pixels, (0.7, 0.7), "CT", Window(40, 400), hidden=hidden, unit="HU")


def coloured(side: int = 48) -> Study:
    rng = np.random.default_rng(1)
    pixels = rng.integers(60, 220, (side, side, 3)).astype(np.uint8)
    pixels[:, : side // 2] = (180, 90, 160)
    return Study(pixels, None, "SM")


def of_kind(name: str) -> str:
    return next(kind for kind, found in STRENGTHS.items() if name in found)


def test_each_corruption_is_in_a_family_and_has_five_strengths_where_it_fits() -> None:
    used = {name for found in STRENGTHS.values() for name in found}
    assert used == set(CORRUPTIONS)
    assert sum(map(len, FAMILIES.values())) == len(CORRUPTIONS) == 21
    assert {len(each) for found in STRENGTHS.values() for each in found.values()} == {5}
    # How many MedMNIST-C has for the data set of each kind.
    counts = {kind: len(found) for kind, found in STRENGTHS.items() if kind != "any"}
    assert counts == {
        "histology": 11, "cells": 11, "photograph": 15, "fundus": 8, "oct": 6, "ultrasound": 7,
        "radiograph": 13, "section": 13,
    }  # fmt: skip


def test_a_modality_has_the_corruptions_that_occur_in_it() -> None:
    assert kind_of("ct") == "section"
    assert kind_of(None) == kind_of("SR") == "any"
    assert "stain-deposit" in strengths("SM")
    assert "stain-deposit" not in strengths("CT")
    assert "saturate" not in strengths("DX")


@pytest.mark.parametrize("study", [grey(), coloured()], ids=["grey", "coloured"])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_pixels_and_nothing_else(name: str, study: Study) -> None:
    change = ImageChange(name, 5, of_kind(name), 3)
    found = change.study(study)
    kept = ("size", "spacing_mm", "window", "modality", "unit")
    assert [getattr(found, each) for each in kept] == [getattr(study, each) for each in kept]
    assert found.pixels.dtype == study.pixels.dtype
    is_changed = not np.array_equal(found.pixels, study.pixels, equal_nan=True)
    assert is_changed == (name != "saturate" or study.pixels.ndim == 3)  # grey has no saturation
    if study.hidden is not None:
        assert np.array_equal(found.pixels[study.hidden], study.pixels[study.hidden])
        assert np.isnan(found.pixels[0, 0])
        assert np.isnan(found.pixels).sum() == 1
        measured = found.pixels[np.isfinite(found.pixels)]
        assert measured.min() >= -1000  # the own range, and that of the window
        assert measured.max() <= 1300
    again = change.study(study)
    assert np.array_equal(found.pixels, again.pixels, equal_nan=True)


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if n not in ("contrast-up", "bubble")])
def test_a_greater_severity_changes_more(name: str) -> None:
    study = coloured(112)
    kind = of_kind(name)
    far = [
        np.abs(
            ImageChange(name, severity, kind, 0).study(study).pixels.astype(float) - study.pixels
        ).mean()
        for severity in (SEVERITIES[0], SEVERITIES[-1])
    ]
    assert 0 < far[0] < far[1]


def test_a_blur_moves_no_mean_and_defocus_spreads_a_point_over_a_disc() -> None:
    pixels = np.full((224, 224), 50.0, np.float32)
    pixels[100, 120] = 250.0
    point = Study(pixels, None, "OP", Window(127.5, 255))
    for name in ("defocus-blur", "motion-blur"):
        found = ImageChange(name, 1, "fundus", 0).study(point).pixels
        assert found.mean() == pytest.approx(pixels.mean(), abs=0.01)
    rows, columns = np.nonzero(ImageChange("defocus-blur", 1, "fundus", 0).study(point).pixels > 51)
    assert (rows.mean(), columns.mean()) == pytest.approx((100, 120), abs=0.1)
    assert np.ptp(rows) == np.ptp(columns) == 8  # of the radius 4


def test_noise_has_the_strength_of_its_severity_in_the_greys_that_are_shown() -> None:
    flat = Study(np.full((300, 300), 40, np.float32), None, "DX", Window(40, 400))
    found = ImageChange("gaussian-noise", 2, "radiograph", 0).study(flat).pixels
    assert found.std() == pytest.approx(0.08 * 400, rel=0.02)
    assert len(np.unique(found)) <= 224**2  # a grain is a pixel of 224, also of a larger image


def test_what_lies_beyond_the_window_keeps_its_value_under_jpeg_and_gamma() -> None:
    for name, tolerance in (("jpeg", 40.0), ("gamma-up", 0.5)):
        found = ImageChange(name, 1, "section", 0).study(grey()).pixels
        assert found[18:22, 18:22] == pytest.approx(1200, abs=tolerance)


def test_another_seed_is_another_noise_and_another_image_of_a_study_too() -> None:
    study = grey()
    change = ImageChange("gaussian-noise", 3, "section", 0)
    other = ImageChange("gaussian-noise", 3, "section", 1)
    assert not np.array_equal(change.study(study).pixels[9], other.study(study).pixels[9])
    assert not np.array_equal(change.study(study, 1).pixels[9], change.study(study, 2).pixels[9])


@pytest.mark.parametrize(
    "window", [Window(40, 400), Window(40, 400, inverted=True), LookupTable(0, bytes(range(256)))]
)
def test_brighter_is_brighter_as_it_is_shown_and_blank_is_grey(
    window: Window | LookupTable,
) -> None:
    study = Study(
        np.linspace(-100, 200, 64 * 64, dtype=np.float32).reshape(64, 64), None, "DX", window
    )

    def shown(each: Study) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(each.render((0.0, 0.0, 64.0, 64.0), (64, 64)), float)

    brighter = ImageChange("brightness-up", 5, "radiograph", 0).study(study)
    assert shown(brighter).mean() > shown(study).mean() + 1
    blank = shown(ImageChange(BLANK, 0, "any", 0).study(study))
    assert np.ptp(blank) == 0
    assert 126 <= blank[0, 0, 0] <= 129


@pytest.mark.parametrize("side", [1, 48])
def test_a_blank_image_shows_no_outline_of_the_padding(side: int) -> None:
    pixels = np.arange(side * 48, dtype=np.uint16).reshape(side, 48)
    study = Study(pixels, None, "CT", Window(40, 80), hidden=pixels % 48 < 20)
    blank = ImageChange(BLANK, 0, "section", 0).study(study)
    shown = np.asarray(blank.render((0.0, 0.0, 48.0, float(side)), (48, side)))
    assert np.ptp(shown) == 0
