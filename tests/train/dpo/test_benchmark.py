"""The table of the benchmark of losses: paired over cases and seeds, from what was judged."""

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from medgym.errors import UserError
from medgym.metrics.rate import Rate
from medgym.rollout import collect
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.dpo import benchmark
from medgym.train.dpo.benchmark import BenchmarkRow, check_benchmark, print_rows, rows_of
from medgym.train.dpo.losses import read_losses
from medgym.train.dpo.watch import Collapsed
from medgym.train.recipe.judge import JudgeTable
from medgym.train.recipe.schema import Recipe, load_recipe
from medgym.train.run.opened import Run

LOSSES = read_losses("dpo,mdpo")
POLICIES = {"cold_start": "scripted:prior", "dpo": "scripted:oracle", "mdpo": "scripted:prior"}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    found = load_recipe("dpo-tiny")[0]
    cases = found.cases.model_copy(
        update={"test": "phantom,look=radiograph,question=kind:test[:12]"}
    )
    return found.model_copy(update={"cases": cases})


@pytest.fixture(scope="module")
def rows(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[BenchmarkRow]:
    """One loss answers as the oracle, the other one as the cold start, under two seeds."""
    runs = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        run = Run(recipe.model_copy(update={"seed": seed}), folder)
        for name, spec in POLICIES.items():
            played: Any = collect(run.test, spec, run.rules(run.test), seed=seed)
            TrajectoryStore(run.place.judged(name)).write(list(played), number=0)
        runs.append(run)
    return rows_of(runs, LOSSES)


def test_the_rows_are_paired_by_case_over_all_seeds(rows: list[BenchmarkRow]) -> None:
    start, first, second = rows
    assert [row.name for row in rows] == ["cold start", "dpo", "mdpo"]
    assert first.accuracy is not None
    assert start.accuracy is not None
    assert (first.accuracy.value, first.hit, first.looked, first.answered) == (1.0, 1.0, 1.0, 1.0)
    assert first.accuracy.n == 12
    assert start.looked == 0.0
    assert 0 < start.accuracy.value < 0.7
    assert first.over_start is not None
    assert first.over_start.value == pytest.approx(1 - start.accuracy.value)
    assert first.over_start.excludes_zero
    assert (start.over_start, start.over_first, first.over_first) == (None, None, None)
    # The same answers as the cold start's: no difference, and its own is the first one's negative.
    assert second.over_start is not None
    assert second.over_start.value == 0
    assert -second.over_start.low == pytest.approx(second.over_start.high)
    assert 0 < second.over_start.high < 0.3, "12 equal cases say that few differ, not that none do"
    assert second.over_first is not None
    assert second.over_first.value == pytest.approx(-first.over_start.value)
    assert first.by_seed == {"0": Rate.of([True] * 12), "1": Rate.of([True] * 12)}
    assert first.as_dict()["terms"] == {"dpo": 1.0}


def test_the_table_says_so(
    rows: list[BenchmarkRow], recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    print_rows(rows, recipe, [0, 1])
    head, start, first, second = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "dpo-tiny, seeds 0, 1"
    assert head.endswith("over dpo")
    assert start.endswith("-  -") or start.split()[-2:] == ["-", "-"]
    assert "100.0 %" in first
    assert second.split("(")[0].split()[-1] == "+0.0"


def test_a_loss_is_judged_on_the_way_as_dpo_is(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(benchmark, "train_dpo", lambda *_, **given: asked.update(given))
    monkeypatch.setattr(benchmark, "load_model", lambda *_: (None, None))
    monkeypatch.setattr(benchmark, "pairs_of", lambda run: MagicMock())
    judge = JudgeTable(every=1, cases="phantom:validation[:2]")
    run = Run(recipe.model_copy(update={"judge": judge}), tmp_path)
    benchmark.LossStage(LOSSES[0]).do(run)
    assert [case.id for case in asked["held_out"].cases] == [case.id for case in run.held_out or ()]


def test_a_recipe_without_one_set_of_pairs_is_refused() -> None:
    for name, said in (("tiny", "tiny has no [dpo]; fix: "), ("dpo-online-tiny", "several rounds")):
        with pytest.raises(UserError) as caught:
            check_benchmark(load_recipe(name)[0])
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_loss_whose_policy_stops_has_no_figures_and_says_so(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def collapse(*_: Any, **__: Any) -> None:
        raise Collapsed("the policy stops answering")

    monkeypatch.setattr(benchmark, "train_dpo", collapse)
    monkeypatch.setattr(benchmark, "load_model", lambda *_: (None, None))
    monkeypatch.setattr(benchmark, "pairs_of", lambda run: MagicMock())
    run = Run(recipe, tmp_path)
    stage = benchmark.LossStage(LOSSES[0])
    stage.do(run)
    assert stage.policies(run) == ()
    for name in ("cold_start", "mdpo"):
        played: Any = collect(run.test, POLICIES[name], run.rules(run.test))
        TrajectoryStore(run.place.judged(name)).write(list(played), number=0)
    _, first, second = rows_of([run], LOSSES)
    assert (first.accuracy, first.over_start) == (None, None)
    assert first.stopped == {"0": "Collapsed: the policy stops answering"}
    assert second.over_start is not None
    assert second.over_first is None
    print_rows(rows_of([run], LOSSES), recipe, [0])
    assert "stopped  Collapsed (seed 0)" in capsys.readouterr().out
