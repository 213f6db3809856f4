"""The check passes what is right and catches each planted fault."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.study import Study
from medgym.sources.phantom import check as phantom_check
from medgym.sources.phantom import modalities as drawing
from medgym.sources.phantom import source as phantoms
from medgym.sources.phantom.check import CheckReport, check_phantoms, chi_square_p
from medgym.sources.phantom.modalities import APPEARANCES, GRIDS, Pixels
from medgym.sources.phantom.probe import interval, probe, tail
from medgym.sources.phantom.source import PhantomSource


def some(count: int = 24, **options: str) -> Sequence[Case]:
    options = {"look": "radiograph", "question": "kind", **options}
    return PhantomSource(**options).cases("test")[:count]


def failed(report: CheckReport) -> str:
    return " | ".join(row.check for row in report.rows if row.verdict == "fail")


@pytest.fixture(scope="module")
def honest() -> CheckReport:
    return check_phantoms(some(240, size="256"))


def test_phantoms_pass(honest: CheckReport) -> None:
    assert honest.passed
    assert {row.verdict for row in honest.rows} == {"pass"}
    assert len({row.check for row in honest.rows}) == len(honest.rows)


def test_the_probe_guesses_on_overviews_and_sees_close_by(honest: CheckReport) -> None:
    rows = [row for row in honest.rows if row.check.startswith("a probe")]
    assert len(rows) == 2
    assert all("close view 100.0%" in row.figure for row in rows)


def test_the_probe_sees_bright_and_dark_looks_together() -> None:
    plans = [
        phantoms.plan_of(case.images[0])
        for case in some(200, size="256", look="radiograph+histology+fundus")
    ]
    found = probe(plans, 64, phantom_check.rendered)
    assert found.close > 0.95 * found.tested
    assert tail(found.overview, found.tested) > 0.025


def test_all_looks_and_questions_pass() -> None:
    seen: list[tuple[int, int]] = []
    report = check_phantoms(
        PhantomSource().cases("validation")[:32],
        probe=False,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.passed
    assert seen[-1] == (32, 32)


@pytest.mark.parametrize("size", [256, 512, 896])
def test_other_sizes_pass(size: int) -> None:
    report = check_phantoms(some(4, size=str(size), look="radiograph+histology"))
    assert report.passed
    overviews = [row for row in report.rows if row.check.startswith("overview")]
    assert len(overviews) == 8


@pytest.mark.slow
@pytest.mark.parametrize("size", [1024, 1792, 3584])
def test_large_sizes_pass(size: int) -> None:
    assert check_phantoms(some(1, size=str(size))).passed


@pytest.mark.parametrize("side", [48, 128])
def test_a_view_size_that_leaks_is_caught(side: int) -> None:
    report = check_phantoms(some(170, size="256"), view_sizes=(side,))
    assert f"overview {side} x {side}" in failed(report)
    assert "a probe cannot read" in failed(report)


def test_a_lesion_off_the_grid_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    add = drawing.add_texture

    def shifted(pixels: Pixels, look: str, size: int, lesion: drawing.Lesion) -> None:
        add(pixels[:, 3:], look, size, lesion)

    monkeypatch.setattr(drawing, "add_texture", shifted)
    report = check_phantoms(some(), probe=False)
    assert "overview 64 x 64 hides the kind under Image.reduce" in failed(report)
    assert "gold agrees" in failed(report)


def test_clipping_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def clipped(pixels: Pixels, look: str, size: int, lesion: drawing.Lesion) -> None:
        side = GRIDS[size].block
        texture = (
            drawing.tile(lesion.kind, GRIDS[size].half_period, side) * APPEARANCES[look].contrast
        )
        for column, row in lesion.cells:
            part = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
            part[...] = np.minimum(part.astype(int) + 60 + texture, 255)

    monkeypatch.setattr(drawing, "add_texture", clipped)
    report = check_phantoms(some(48, size="256"), probe=False)
    assert "overview" in failed(report)


@pytest.mark.parametrize("filter_", ["LANCZOS", "BILINEAR", "NEAREST"])
def test_a_leaky_filter_is_caught(monkeypatch: pytest.MonkeyPatch, filter_: str) -> None:
    def leaky(study: Study, side: int) -> Pixels:
        picture = Image.fromarray(study.pixels)
        return np.asarray(picture.resize((side, side), Image.Resampling[filter_]))

    monkeypatch.setitem(phantom_check.OVERVIEWS, phantom_check.RENDERED, leaky)
    report = check_phantoms(some(170, size="256"), view_sizes=(64,))
    assert failed(report).startswith(
        f"overview 64 x 64 hides the kind under {phantom_check.RENDERED}"
    )
    assert "a probe cannot read the kind from overviews of 64 x 64" in failed(report)
    assert "Image.reduce" not in failed(report)


def test_a_texture_of_another_sum_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = drawing.tile

    def lopsided(kind: str, half_period: int, block: int) -> np.ndarray:  # type: ignore[type-arg]
        texture = tile(kind, half_period, block).copy()
        if kind == "granular":
            texture[0, 0] = not texture[0, 0]
        return texture

    monkeypatch.setattr(drawing, "tile", lopsided)
    assert "average pooling" in failed(check_phantoms(some(4), probe=False))


def test_two_kinds_that_look_alike_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = drawing.tile
    monkeypatch.setattr(
        drawing,
        "tile",
        lambda kind, half, block: tile(kind.replace("oblique", "banded"), half, block),
    )
    assert "the original pixels show the kind" in failed(check_phantoms(some(4), probe=False))


def test_a_blind_probe_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    # Overviews without any information, and close views without any either.
    monkeypatch.setattr(
        Study, "render", lambda self, box, size: Image.new("RGB", size, (90, 90, 90))
    )
    report = check_phantoms(some(170, size="256"), view_sizes=(64,))
    row = next(row for row in report.rows if row.check.startswith("a probe"))
    assert row.verdict == "fail"
    assert "blind" in row.fix


def faulty(fix: Callable[[Case], Case], **options: str) -> str:
    cases = [fix(case) for case in some(6, **options)]
    return failed(check_phantoms(cases, probe=False))


def moved(case: Case) -> Case:
    region = case.regions[0]
    x0, y0, x1, y1 = region.box_px
    return case.model_copy(
        update={"regions": (region.model_copy(update={"box_px": (x0 + 16, y0, x1 + 16, y1)}),)}
    )


def swapped(case: Case) -> Case:
    other = next(option for option in case.options if option != case.answer)
    return case.model_copy(update={"answer": other})


def test_wrong_gold_is_caught() -> None:
    assert "gold agrees" in faulty(moved)
    assert "gold agrees" in faulty(lambda case: case.model_copy(update={"regions": ()}))
    for question in ("kind", "side", "presence", "size"):
        assert "gold agrees" in faulty(swapped, question=question, size="256")
        assert "gold agrees" not in faulty(lambda case: case, question=question, size="256")


def test_wrong_masks_are_caught() -> None:
    def shifted(case: Case) -> Case:
        region = case.regions[0]
        assert region.mask is not None
        mask = type(region.mask).of(np.roll(region.mask.array(), 1, axis=0))
        return case.model_copy(update={"regions": (region.model_copy(update={"mask": mask}),)})

    assert "gold agrees" in faulty(shifted)


def test_an_imbalance_is_caught() -> None:
    cases = [
        case for case in some(400, size="256") if case.answer != "oblique" or case.id.endswith("1")
    ]
    report = check_phantoms(cases, probe=False)
    assert "answers to kind in radiograph are balanced" in failed(report)


def test_a_kind_that_goes_with_the_place_is_caught() -> None:
    cases = [
        case
        for case in some(400, size="256")
        if (case.answer in ("striated", "banded")) == (case.regions[0].box_px[1] < 115)
    ]
    assert "the kind does not go with the row" in failed(check_phantoms(cases, probe=False))


def test_overlapping_splits_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(phantoms.FIRST, "test", 0)
    report = check_phantoms(some(4), probe=False)
    assert "splits are disjoint" in failed(report)
    fix = next(row.fix for row in report.rows if row.check == "splits are disjoint")
    assert "in two splits" in fix


def test_few_cases_warn_and_do_not_pass_for_proof() -> None:
    report = check_phantoms(some(8))
    assert report.passed
    warned = [row for row in report.rows if row.verdict == "warn"]
    assert any("probe" in row.check for row in warned)
    assert all(row.fix for row in warned)


def test_bad_input() -> None:
    with pytest.raises(UserError, match="no cases to check"):
        check_phantoms([])
    other = some(1)[0].model_copy(update={"source": "vqa"})
    with pytest.raises(UserError, match="is no phantom"):
        check_phantoms([other])


def test_statistics_agree_with_tables() -> None:
    assert chi_square_p(np.array([[25, 25, 25, 25]])) == 1
    assert chi_square_p(np.array([[30, 10], [10, 30]])) == pytest.approx(7.7e-6, rel=0.02)
    unseen = np.array([[30, 10, 0], [10, 30, 0]])  # a column that never came up says nothing
    assert chi_square_p(unseen) == pytest.approx(7.7e-6, rel=0.02)
    low, high = interval(200)
    assert (low, high) == (38, 62)
    assert tail(0, 50) == pytest.approx(1)
    assert tail(high + 1, 200) < 0.025 < tail(high, 200)


def test_plans_are_redrawn_not_remembered() -> None:
    # The check draws each twin from its plan; were a drawing cached by its address, it would
    # compare an image with itself.
    plan = phantoms.plan_of(some(1)[0].images[0])
    drawn = {replace(plan, kind=kind).draw().tobytes() for kind in drawing.KINDS}
    assert len(drawn) == 4
