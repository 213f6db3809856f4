"""`medgym bench`: what it lists, how it is asked wrongly, what it prints."""

import json
import sys
from functools import partial

import pytest

from medgym.benchmarks import command, scale, stepping
from medgym.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark `env` at a size that takes no time."""
    quick = partial(stepping.stepping, side=128, repetitions=2)
    monkeypatch.setattr(stepping, "stepping", quick)


def test_without_a_name_it_lists_them(capsys: Capture) -> None:
    assert main(["bench"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == list(command.BENCHMARKS)
    assert main(["bench", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == list(
        command.BENCHMARKS
    )


def test_an_unknown_name_is_one_line(capsys: Capture) -> None:
    assert main(["bench", "rolout"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "medgym: unknown benchmark 'rolout'; did you mean 'rollout'?\n"


@pytest.mark.usefixtures("small")
def test_json_is_rows_and_nothing_else(capsys: Capture) -> None:
    assert main(["bench", "env", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in rows] == ["env.zoom_128", "env.zoom_128_grey"]
    for row in rows:
        assert list(row) == ["metric", "value", "unit", "rival", "rival_value", "ratio"]
        assert row["ratio"] == pytest.approx(row["value"] / row["rival_value"])


@pytest.mark.usefixtures("small")
def test_a_table_for_people(capsys: Capture) -> None:
    assert main(["bench", "env"]) == 0
    assert "Pillow: crop and resize" in capsys.readouterr().out


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_each_has_a_function_of_its_own(name: str) -> None:
    module = command.BENCHMARKS[name][0]
    measure = command._measure(name)
    assert measure.__name__ == module.partition(".")[0]
    assert measure.__module__.startswith(f"medgym.benchmarks.{module}")


def test_help_shows_an_example(capsys: Capture) -> None:
    assert main(["bench", "--help"]) == 0
    assert "medgym bench env --json" in capsys.readouterr().out


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert main(["bench", "rollout"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("medgym: datasets is not installed; fix: pip install ")
    assert said.err.endswith("[train]'\n")


def test_without_ray_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "medgym.rollout.ray.cluster", raising=False)
    monkeypatch.setattr(
        scale, "in_flight", partial(scale.in_flight, episodes=20, wait=0.01, repetitions=1)
    )
    monkeypatch.setattr(scale, "scale", partial(scale.scale, 1))
    assert main(["bench", "scale", "--json"]) == 0
    said = capsys.readouterr()
    assert [row["metric"] for row in json.loads(said.out)] == ["scale.in_flight_20"]
    assert "scale.ray_two_workers is left out: ray is not installed; fix: pip" in said.err
