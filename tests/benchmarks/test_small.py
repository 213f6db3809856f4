"""Each benchmark at a small size: its rows, and that both sides did the same work."""

import sys
from pathlib import Path

import pydicom
import pytest

import medgym
from medgym.benchmarks.against_trl import against_trl
from medgym.benchmarks.comparison import Comparison
from medgym.benchmarks.evaluation import evaluation
from medgym.benchmarks.machine import cores, cpu, description, libraries
from medgym.benchmarks.memory import memory
from medgym.benchmarks.ray_workers import ray_workers
from medgym.benchmarks.scale import in_flight
from medgym.benchmarks.stepping import stepping
from medgym.benchmarks.studies.files import write_series, write_slide
from medgym.benchmarks.studies.measure import WORK, studies
from medgym.benchmarks.studies.resident import CLEAR
from medgym.benchmarks.tools import tools
from medgym.imaging.series.study import SeriesStudy


def sound(row: Comparison) -> bool:
    return row.value > 0 and row.rival_value > 0 and bool(row.unit and row.rival)


def test_stepping() -> None:
    rows = stepping(side=256, repetitions=3)
    assert [row.metric for row in rows] == ["env.zoom_256", "env.zoom_256_grey"]
    assert all(sound(row) and row.unit == "ms" for row in rows)


@pytest.mark.slow
def test_tools() -> None:
    rows = {row.metric: row for row in tools(side=64, seconds=0.0, repetitions=1)}
    assert all(sound(row) and row.unit == "calls/s" for row in rows.values())
    shown = {name.split(".")[1] for name in rows}
    assert shown == {"zoom", "crop", "enhance", "measure", "segment", "retrieve", "detect"}
    assert "tools.segment.cached" in rows
    assert "tools.zoom.cached" not in rows
    assert {"tools.retrieve.single", "tools.detect.batched", "tools.detect.cached"} <= rows.keys()


def test_in_flight(tmp_path: Path) -> None:
    (row,) = in_flight(tmp_path, episodes=40, wait=0.01, repetitions=1)
    assert row.metric == "scale.in_flight_40"
    assert sound(row)
    assert row.rival_value >= 0.04, "nothing is faster than four waits"


@pytest.mark.skipif(not CLEAR.exists(), reason="reads /proc")
def test_memory() -> None:
    (row,) = memory(trajectories=8, turns=6, original=1024, view=512)
    assert row.metric == "memory.8x6_views"
    assert row.rival_value > 30 > row.value, "48 views of 0.75 MB are held by one side alone"


@pytest.mark.skipif(not CLEAR.exists(), reason="reads /proc")
@pytest.mark.slow
def test_evaluation() -> None:
    memory, growth = evaluation(few=20, many=1_000)
    assert [memory.metric, growth.metric] == ["evaluation.1000.memory", "evaluation.1000.growth"]
    assert sound(memory)
    assert memory.value > growth.value
    assert growth.rival_value > 1, "it holds all"


def test_rollouts_against_trl_play_the_same() -> None:
    rows = {row.metric: row for row in against_trl(cases=2, group_size=2, delays={2: 1})}
    assert sound(rows["rollout.tools_2ms"])
    assert "TRL" in rows["rollout.tools_2ms"].rival
    same = {name: rows[f"rollout.tools_2ms.{name}"] for name in ("turns", "sampled", "images")}
    assert [(row.value, row.rival_value) for row in same.values()] == [(4, 4), (24, 24), (4, 4)]
    tokens = rows["rollout.tools_2ms.tokens"]
    assert tokens.ratio == pytest.approx(1, abs=0.1), "as many, but for the boxes' shapes"


@pytest.mark.slow
def test_ray_workers() -> None:
    pytest.importorskip("ray")
    (row,) = ray_workers(episodes=8, seconds=0.01, repetitions=1)
    assert row.metric == "scale.ray_two_workers"
    assert sound(row)


def test_the_machine_is_described() -> None:
    assert cores() >= 1
    assert cpu() in description()
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in description()
    assert {"numpy", "pillow"} <= libraries().keys()


@pytest.mark.skipif(not CLEAR.exists(), reason="reads /proc")
def test_studies() -> None:
    rows = studies(volume=(6, 16), repetitions=1, parts=["nii"])
    assert [row.metric for row in rows] == ["studies.nii.first", "studies.nii.scroll"]
    assert all(sound(row) for row in rows)


def test_what_is_measured_of_a_series(tmp_path: Path) -> None:
    """A volume in order, whose files pydicom reads."""
    files = write_series(tmp_path / "series", 5, 16)
    study = medgym.open_study(tmp_path / "series")
    assert isinstance(study, SeriesStudy)
    assert study.planes["axial"].count == 5
    place = pydicom.dcmread(files[3]).ImagePositionPatient[2]
    assert study.to_patient("axial", 3, (0.5, 0.5))[2] == place == 1.5
    made = {name: WORK[name](tmp_path / "series") for name in ("first", "scroll", "headers")}
    assert made == {"first": 1, "scroll": 5, "headers": 1}
    assert WORK["files"](tmp_path / "series") == 5


def test_what_is_measured_of_a_slide(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", 1024)
    for name, made in (("overview", 1), ("thumbnail", 1), ("regions", 40), ("read-regions", 40)):
        assert WORK[name](tmp_path / "a.tif") == made
