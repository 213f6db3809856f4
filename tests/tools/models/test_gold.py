"""Noised gold has the quality that it states, the same for every call, and says no more."""

import numpy as np
import pytest

from medgym.gold_tool import Gold
from medgym.imaging.study import Study
from medgym.regions import Region
from medgym.tools.models.asked import asked
from medgym.tools.models.gold import GoldClasses, GoldFindings, Quality
from medgym.workspace import Workspace

WORKSPACE = Workspace([Study(np.zeros((100, 100), np.uint8))])
WHOLE = asked(WORKSPACE, 0, None)
CASES = 400


def a_gold(seed: int, count: int = 2) -> Gold:
    random = np.random.default_rng(seed)
    regions = []
    for number in range(count):
        x, y = (float(random.integers(0, 80)) for _ in range(2))
        label = "nodule" if number % 2 == 0 else "mass"
        regions.append(Region(label=label, box_px=(x, y, x + 12, y + 12)))
    return Gold(tuple(regions), seed)


def test_noised_findings_have_the_stated_sensitivity_and_precision() -> None:
    expert = GoldFindings(Quality(0.8, 0.7))
    true = told = 0
    for seed in range(CASES):
        gold = a_gold(seed)
        found = expert.of(WHOLE, gold)
        boxes = {region.box_px for region in gold.regions}
        true += sum(each.box_px in boxes for each in found)
        told += len(found)
    assert true / (2 * CASES) == pytest.approx(0.8, abs=0.03)
    assert true / told == pytest.approx(0.7, abs=0.03)


def test_noised_classes_have_the_stated_accuracy() -> None:
    expert = GoldClasses(0.85, ("nodule", "mass", "cyst", "scar"))
    right = 0
    for seed in range(CASES):
        there = {"nodule", "mass"}
        scores = {each.label: each.score for each in expert.of(WHOLE, a_gold(seed))}
        right += sum((scores[label] > 0.5) == (label in there) for label in scores)
        assert len(scores) == 4
    assert right / (4 * CASES) == pytest.approx(0.85, abs=0.03)


def test_a_label_that_is_missed_is_not_spoken_of() -> None:
    expert = GoldClasses(0.7)
    found = [expert.of(WHOLE, a_gold(seed)) for seed in range(20)]
    assert {len(each) for each in found} == {0, 1, 2}
    assert {finding.score for each in found for finding in each} == {0.7}


@pytest.mark.parametrize("seed", range(5))
def test_the_noise_is_of_the_case_and_not_of_the_call(seed: int) -> None:
    gold = a_gold(seed)
    findings = GoldFindings(Quality(0.5, 0.5), ("cyst",))
    classes = GoldClasses(0.5, ("cyst",))
    assert findings.of(WHOLE, gold) == findings.of(WHOLE, gold)
    assert classes.of(WHOLE, gold) == classes.of(WHOLE, gold)
    # What is said of two halves is what is said of the whole: no part gives an error away.
    halves = [asked(WORKSPACE, 0, box) for box in ([0, 0, 500, 1000], [500, 0, 1000, 1000])]
    parts = [findings.of(half, gold) for half in halves]
    assert {*parts[0], *parts[1]} == {*findings.of(WHOLE, gold)}
    likely = [{e.label for e in classes.of(half, gold) if e.score >= 0.5} for half in halves]
    assert any(likely) == any(each.score >= 0.5 for each in classes.of(WHOLE, gold))


def test_where_labels_are_not_told_no_call_can_ask_by_label() -> None:
    gold = Gold(
        tuple(region.model_copy(update={"label": ""}) for region in a_gold(1).regions),
        1,
        frozenset({"label"}),
    )
    expert = GoldFindings(Quality())
    assert len(expert.of(WHOLE, gold, ["nodule"])) == 2
    assert {each.label for each in expert.of(WHOLE, gold)} == {""}


def test_where_a_measure_is_not_told_only_middles_are() -> None:
    region = Region(label="nodule", box_px=(10, 20, 30, 60))
    (found,) = GoldFindings(Quality()).of(WHOLE, Gold((region,), 0, frozenset({"size"})))
    assert found.box_px is None
    assert found.point_px == (20, 40)
