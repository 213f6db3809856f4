"""Phantoms of magnetic resonance, ultrasound clips and slides."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest

from medgym.imaging.imaging_study import ImagingStudy
from medgym.imaging.slabs import Slab
from medgym.imaging.study import open_image
from medgym.sources.phantom.studies import slide as slides
from medgym.sources.phantom.studies.cases import opened
from medgym.sources.phantom.studies.plan import StudyName, StudyPlan, study_plan
from medgym.sources.phantom.studies.questions import start_of, study_case
from medgym.sources.phantom.studies.textures import KINDS

MRI = StudyName("mri-volume", 128, 8, "medium")
CLIP = StudyName("ultrasound-clip", 128, 8, "medium")
SLIDE = StudyName("slide", 1024, 1, "medium")


def kinds_of(plan: StudyPlan) -> list[ImagingStudy]:
    """The study with each kind of lesion."""
    (finding,) = plan.findings
    return [opened(replace(plan, findings=(replace(finding, kind=kind),))) for kind in KINDS]


def close(plan: StudyPlan, plane: str, window: str | tuple[float, float] | None = None) -> int:
    """How many of the kinds look different close by."""
    finding = plan.findings[0]
    box = plan.box_px(finding)
    studies = kinds_of(plan)
    shown = {s.show(plane, finding.first, box, (64, 64), window).tobytes() for s in studies}
    return len(shown)


def test_the_kind_shows_in_one_of_two_sequences() -> None:
    case = study_case("train", MRI, "kind", 4)
    assert len(case.images) == 2
    assert {region.image for region in case.regions} == {1}
    t1, t2 = (study_plan("train", MRI, 4, variant) for variant in ("t1", "t2"))
    assert t1.findings == t2.findings
    assert close(t1, "axial") == 1
    assert close(t2, "axial") == 4
    hard = study_plan("train", replace(MRI, difficulty="hard"), 4, "t2")
    top = opened(hard).values("axial", hard.findings[0].first).max()
    assert close(hard, "axial") == 1
    assert close(hard, "axial", (top / 2, top)) == 4


def test_the_units_of_magnetic_resonance_are_arbitrary() -> None:
    scales = set()
    for number in range(6):
        study = opened(study_plan("train", MRI, number, "t2"))
        assert study.image("axial", 0).unit is None
        (window,) = study.windows("axial", 0)
        scales.add(window)
    assert len(scales) > 2


def test_a_clip_begins_before_its_finding_and_moves() -> None:
    for number in range(12):
        plan = study_plan("test", CLIP, number)
        finding = plan.findings[0]
        assert finding.first > 0
        assert start_of(plan).index == 0
    clip = opened(plan)
    assert list(clip.planes) == ["frame"]
    assert clip.planes["frame"].count == 8
    assert not np.array_equal(clip.values("frame", 0), clip.values("frame", 1))
    assert close(plan, "frame") == 4
    image = clip.image("frame", 2, (10, 10, 60, 60))
    assert image.spacing_mm is None
    assert image.spacing_in((0, 0, 50, 50)) == (1.0, 1.0)
    assert clip.slab("frame", 4, Slab(5, "maximum")).pixels.dtype == np.uint8


def test_a_slide_hides_the_kind_in_all_levels_but_the_finest() -> None:
    plan = study_plan("train", SLIDE, 2)
    finding = plan.findings[0]
    x0, y0, x1, y1 = plan.box_px(finding)
    assert close(plan, "level 0") == 4
    for level, factor in (("level 1", 4), ("level 2", 16)):
        box = (x0 / factor, y0 / factor, x1 / factor, y1 / factor)
        drawn = {s.show(level, 0, box, (64, 64)).tobytes() for s in kinds_of(plan)}
        assert len(drawn) == 1


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_each_pixel_of_a_coarse_level_is_the_mean_of_its_square(difficulty: str) -> None:
    study = opened(study_plan("validation", replace(SLIDE, difficulty=difficulty), 3))
    finest, middle, coarse = (study.values(f"level {n}", 0) for n in range(3))
    means = finest.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3), dtype=np.float64)
    assert np.array_equal(means, middle)
    means = middle.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3), dtype=np.float64)
    assert np.abs(means - coarse).max() <= 0.5
    assert study.planes["level 2"].spacing_mm == pytest.approx((0.032, 0.032))


def test_a_region_of_a_slide_is_cut_out_of_the_whole() -> None:
    plan = study_plan("train", SLIDE, 2)
    study = opened(plan)
    whole = study.values("level 0", 0)
    x0, y0, x1, y1 = plan.box_px(plan.findings[0])
    for box in ((x0 - 3, y0 + 5, x1 + 2, y1 - 1), (0, 0, 9, 1), (1001, 1, 1024, 1024)):
        a, b, c, d = box
        assert np.array_equal(study.values("level 0", 0, box), whole[b:d, a:c])


def test_only_what_is_shown_of_a_slide_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    real = slides.DrawnSlide.read

    def counted(self: slides.DrawnSlide, *place: int) -> object:
        read.append(place)
        return real(self, *place)

    monkeypatch.setattr(slides.DrawnSlide, "read", counted)
    plan = study_plan("train", replace(SLIDE, size=4096), 2)
    image = open_image(start_of(plan))
    assert read == []
    image.render((0, 0, 4096, 4096), (256, 256))
    image.render((1000, 1000, 1064, 1064), (64, 64))
    assert read == [(2, 0, 0, 256, 256), (0, 1000, 1000, 64, 64)]
    assert image.view_sizes == (32, 64, 128, 256, 512)
    assert pickle.loads(pickle.dumps(image)).size == (4096, 4096)


def test_the_pixels_are_those_that_experiments_stand_on() -> None:
    digests = []
    for name, variant in ((MRI, "t1"), (MRI, "t2"), (CLIP, ""), (SLIDE, "")):
        image = opened(study_plan("train", name, 3, variant))
        values = image.values(next(iter(image.planes)), name.depth - 1)
        digest = hashlib.blake2b(values.astype("<i2").tobytes(), digest_size=4)
        digests.append(digest.hexdigest())
    assert digests == ["26a40904", "596606a0", "65ed4cb7", "6469336b"]
