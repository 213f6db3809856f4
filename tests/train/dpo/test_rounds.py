"""Several rounds of groups, pairs and DPO: new cases in each, resumed where a run was killed."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from medgym.errors import UserError
from medgym.storage.adapters import WEIGHTS, published
from medgym.storage.run_folder import RunFolder
from medgym.train.data.preferences.folder import PairFolder
from medgym.train.dpo.rounds import ROUNDS, RoundPlace, check_rounds, rounds_done, train_rounds
from medgym.train.dpo.stage import place_of
from medgym.train.kto.stage import outcomes_of
from medgym.train.models.checkpoint import load_model, save_whole_model
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from medgym.train.tiny.looker import looker

RECIPE = """
name = "rounds"
[model]
path = "looker"
[cases]
train = "phantom,look=radiograph,question=kind:train[:12]"
test = "phantom,look=radiograph,question=kind:test[:4]"
[rollout]
max_turns = 6
max_tokens = 24
[sight]
every = 0
[pairs]
samples = 4
make = ["outcome,alike=false"]
[lora]
r = 2
[dpo]
rounds = 2
max_steps = 1
per_device_train_batch_size = 2
learning_rate = 1e-3
[dpo.later]
learning_rate = 5e-4
"""


def run_of(folder: Path, **tables: Any) -> Run:
    """A run of the recipe with other tables in place of its own; None: without one."""
    data = tomllib.loads(RECIPE) | tables
    kept = {name: table for name, table in data.items() if table is not None}
    return Run(parse_recipe(kept, "my.toml"), folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rounds by the model whose weights are set by hand: a quarter of its answers are right."""
    run = run_of(tmp_path_factory.mktemp("rounds"))
    save_whole_model(*load_model(looker()), run.place.cold_start)
    train_rounds(run, place_of(run))
    return run


@pytest.mark.slow
def test_each_round_plays_new_cases_and_publishes_an_adapter(done: Run) -> None:
    rounds = rounds_done(done.folder)
    assert [(each.number, each.step, each.cases) for each in rounds] == [(1, 1, 6), (2, 2, 6)]
    played = []
    for each in rounds:
        groups = RunFolder.open(done.folder / "trajectories" / "dpo" / f"round-{each.number}")
        assert groups.manifest["status"] == "done"
        episodes = list(groups.trajectories)
        assert len(episodes) == 24
        assert each.right == sum(t.correct for t in episodes) / 24
        pairs = PairFolder.open(done.folder / "pairs" / f"round-{each.number}")
        assert len(pairs) == each.pairs
        played.append({t.case_id for t in episodes})
        assert {row["case"] for row in pairs.rows} <= played[-1]
        # The second round's episodes are those of the first round's adapter.
        assert {t.version for t in episodes} == {"" if each.number == 1 else "dpo-1"}
    assert not played[0] & played[1]
    states = [RoundPlace(done.folder, "dpo", each).checkpoints for each in (1, 2)]
    rates = [(each / "checkpoint-1" / "trainer_state.json").read_text() for each in states]
    assert ['"learning_rate": 0.001' in each for each in rates] == [True, False]
    assert ['"learning_rate": 0.0005' in each for each in rates] == [False, True]
    assert [version.step for version in published(done.folder, "dpo")] == [1, 2]


@pytest.mark.slow
def test_a_run_that_was_killed_in_the_second_round_ends_as_one_that_was_not(
    done: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(done.folder, folder)
    again = Run(done.recipe, folder)
    first, second = (folder / ROUNDS).read_text().splitlines()
    (folder / ROUNDS).write_text(first + "\n")
    shutil.rmtree(folder / "adapters" / "dpo" / "2")
    shutil.rmtree(RoundPlace(folder, "dpo", 2).checkpoints)
    (folder / "pairs" / "round-2" / "pairs.jsonl").unlink()
    groups = folder / "trajectories" / "dpo" / "round-2" / "trajectories"
    before = {path: path.stat().st_mtime_ns for path in groups.iterdir()}
    train_rounds(again, place_of(again))
    assert {path: path.stat().st_mtime_ns for path in groups.iterdir()} == before, "played once"
    assert (folder / ROUNDS).read_text().splitlines() == [first, second]
    for step in ("1", "2"):
        weights = Path("adapters", "dpo", step, WEIGHTS)
        assert (folder / weights).read_bytes() == (done.folder / weights).read_bytes()


@pytest.mark.slow
def test_kto_learns_from_the_episodes_that_dpo_made_pairs_of(done: Run, tmp_path: Path) -> None:
    stored = str(done.folder / "trajectories" / "dpo" / "round-1")
    run = run_of(tmp_path, dpo=None, pairs={"run": stored}, kto={"max_steps": 1})
    outcomes, _, image = outcomes_of(run)
    right = sum(t.correct for t in RunFolder.open(stored).trajectories)
    assert (len(outcomes), sum(each.desirable for each in outcomes)) == (24, right)
    assert all(image(name).size for name in outcomes[0].sample.pictures)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"pairs": {"folder": "runs/pairs"}}, "the pairs of [pairs] folder stay the same; fix: re"),
        ({"pairs": {"run": "runs/groups"}}, "the pairs of [pairs] run stay the same; fix: remove"),
        ({"lora": None}, "[dpo] rounds needs [lora]: a round begins with the adapter of the last"),
        (
            {"dpo": {"rounds": 13, "max_steps": 1}},
            "12 cases cannot be divided into 13 rounds",
        ),
    ],
)
def test_rounds_that_cannot_be_had_are_refused_in_a_line(
    tables: dict[str, Any], said: str, tmp_path: Path
) -> None:
    run = run_of(tmp_path, **tables)
    with pytest.raises(UserError) as caught:
        check_rounds(run)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
