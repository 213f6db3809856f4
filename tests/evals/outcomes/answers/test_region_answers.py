"""Figures of regions, and what is kept of each answer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from medgym.cases import Region, open_cases
from medgym.evals.answer_tables import TABLES, missing_lines
from medgym.evals.outcomes.figures import by_type, summary
from medgym.evals.outcomes.outcome import CaseOutcome, outcome_of
from medgym.evals.outcomes.table import read_outcomes, write_outcomes
from medgym.evals.scorers.region import detection, surface
from medgym.evals.tables import figure
from medgym.imaging.study import ImageRef
from medgym.metrics.rate import Amount, Rate
from medgym.trajectory import Trajectory

IMAGE = open_cases("phantom,look=ct,question=kind:test[:1]")[0].model_copy(
    update={"question": "Where is it?", "answer": "", "options": (), "answer_type": "region",
            "regions": (Region(label="x", box_px=(100, 100, 140, 140)),)}
)  # fmt: skip
"""Its pixels are 0.75 mm wide."""


def played(number: int, said: str | None, **other: object) -> CaseOutcome:
    case = IMAGE.model_copy(
        update={"id": f"own/test/{number}", "group": f"p{number}", "source": "own", **other}
    )
    trajectory = Trajectory(case.id, "x", 0, 0, "text", (), answer=said, reward=0.0)
    return outcome_of(case, trajectory)


@pytest.fixture(scope="module")
def outcomes() -> Sequence[CaseOutcome]:
    answers = ("[100, 100, 140, 140, 0.9]", "[104, 100, 144, 140, 0.8]",
               "[300, 300, 340, 340, 0.1]", "left", None)  # fmt: skip
    return [played(number, answer) for number, answer in enumerate(answers)]


def test_each_answer_has_its_overlap_and_its_distance(outcomes: Sequence[CaseOutcome]) -> None:
    assert [each.verdict for each in outcomes] == [
        "right", "right", "wrong", "unparsed", "unanswered",
    ]  # fmt: skip
    assert [each.iou for each in outcomes] == pytest.approx([1, 36 / 44, 0, 0, 0])
    assert [each.dice for each in outcomes] == pytest.approx([1, 0.9, 0, 0, 0])
    assert [each.surface_unit for each in outcomes] == ["mm", "mm", "mm", None, None]
    assert [each.hd95 for each in outcomes[:2]] == pytest.approx([0, 3.0])
    assert played(0, "[0, 0, 1, 1]", answer_type="open", answer="left").iou is None


def test_figures_say_their_unit_and_over_how_many_they_are(
    outcomes: Sequence[CaseOutcome], tmp_path: Path
) -> None:
    gone = played(9, "[102, 100, 142, 140]", images=(ImageRef(uri="file:gone.png"),))
    found = by_type([*outcomes, gone])
    assert found["region, IoU"].n == 6
    millimetres, pixels = found["region, HD95 (mm)"], found["region, HD95 (pixels)"]
    assert isinstance(millimetres, Amount)
    assert isinstance(pixels, Amount)
    assert (millimetres.n, pixels.n, pixels.value) == (3, 1, pytest.approx(2))
    assert (millimetres.unit, millimetres.as_dict()["unit"]) == ("mm", "mm")
    assert "mm (95 % interval" in figure(millimetres)
    assert found["region, NSD at 2 mm"].n == 3
    assert found["region, AP50"].value == pytest.approx(3 / 6, abs=0.02)
    write_outcomes(tmp_path, [*outcomes, gone])
    kept = read_outcomes(tmp_path)
    assert kept is not None
    assert by_type([*kept][::-1]) == found
    assert summary(kept)["region, Dice"] == found["region, Dice"].as_dict()


def test_several_images_and_boxes_have_one_average_precision() -> None:
    regions = (Region(label="x", box_px=(0, 0, 10, 10)),
               Region(label="y", box_px=(20, 20, 30, 30), image=1))  # fmt: skip
    answer = '[{"box": [0, 0, 10, 10]}, {"box": [20, 20, 30, 30], "image": 1}]'
    images = (ImageRef(uri="file:a.png"), ImageRef(uri="file:b.png"))
    both = [played(n, answer, regions=regions, images=images) for n in range(3)]
    assert [each.score for each in both] == [1, 1, 1]
    assert [each.hd95 for each in both] == [None] * 3  # on two images there is no distance
    assert by_type(both)["region, mAP (AP50:95)"].value == pytest.approx(1)
    same = answer.replace('"image": 1', '"image": 0')
    wrong = [played(n, same, regions=regions, images=images) for n in (0, 1)]
    assert by_type(wrong)["region, AP50"].value < 0.6


def test_a_text_gold_has_overlaps_and_no_distances() -> None:
    found = played(0, "[0, 0, 100, 50]", answer="[0, 0, 100, 100]", regions=())
    assert (found.iou, found.dice, found.hd95) == (0.5, pytest.approx(2 / 3), None)


def test_a_suite_has_a_table_of_each_type(outcomes: Sequence[CaseOutcome]) -> None:
    from types import SimpleNamespace

    judged = {"own": SimpleNamespace(metrics=by_type(outcomes))}
    made = [row for _, rows in TABLES for row in rows(judged)]  # type: ignore[arg-type]
    (row,) = made
    assert row[:3] == ("own", "5", "36.4 %")
    assert row[5].endswith(" mm")


def test_without_the_libraries_a_line_names_the_extra(
    outcomes: Sequence[CaseOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_lines([by_type(outcomes)]) == []
    for module in (detection, surface):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    lines = missing_lines([by_type(outcomes)])
    assert len(lines) == 2
    assert all("pip install 'medgym[metrics]'" in line for line in lines)
    assert "region, AP50" not in by_type(outcomes)
    bare = [replace(each, hd95=None, nsd=None, surface_unit=None) for each in outcomes]
    assert isinstance(by_type(bare)["region, IoU"], Rate)
