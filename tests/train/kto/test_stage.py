"""The stage of KTO: it learns from groups that the policy plays, is watched, and publishes."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from medgym.storage.adapters import published
from medgym.storage.json_files import read_lines
from medgym.train.dpo.watch import ANSWERED, AT_START, Collapsed
from medgym.train.kto.stage import KtoStage, place_of
from medgym.train.models.checkpoint import load_model, save_whole_model
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from medgym.train.tiny.looker import looker

RECIPE = """
name = "single"
[model]
path = "looker"
[cases]
train = "phantom,look=radiograph,question=kind:train[:3]"
test = "phantom,look=radiograph,question=kind:test[:4]"
[rollout]
max_turns = 6
max_tokens = 24
[sight]
every = 0
[pairs]
samples = 4
[lora]
r = 2
[kto]
max_steps = 2
per_device_train_batch_size = 2
learning_rate = 1e-3
"""


def run_of(folder: Path, **kto: Any) -> Run:
    data = tomllib.loads(RECIPE)
    data["kto"] |= kto
    return Run(parse_recipe(data, "my.toml"), folder)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = run_of(tmp_path_factory.mktemp("kto"))
    save_whole_model(*load_model(looker()), run.place.cold_start)
    KtoStage().do(run)
    return run


@pytest.mark.slow
def test_it_learns_is_watched_and_publishes(learned: Run) -> None:
    place = place_of(learned)
    assert [version.step for version in published(place.folder, place.role)] == [2]
    told = read_lines(place.metrics)
    assert 0 < told[0][AT_START] <= 1
    assert (told[-1]["step"], AT_START in told[-1]) == (2, False)
    assert 0 < told[-1][ANSWERED] <= 1


@pytest.mark.slow
def test_a_policy_that_stops_answering_stops_the_run_by_name(learned: Run, tmp_path: Path) -> None:
    made = shutil.ignore_patterns("adapters", "*-kto", "*-kto.jsonl")
    shutil.copytree(learned.folder, tmp_path / "run", ignore=made)  # the groups are played
    run = run_of(tmp_path / "run", learning_rate=30.0)
    with pytest.raises(Collapsed, match=r"fix: lower \[kto\] learning_rate"):
        KtoStage().do(run)
    assert not (run.folder / "adapters").exists()
