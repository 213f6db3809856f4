"""What two processes share out is what one process does by itself."""

import json
import os
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from medgym.errors import RunError, UserError
from tests.two_processes import Ended, run_two

RADIOGRAPHS = "phantom,look=radiograph,question=kind"


def run_of(base: Path, folder: Path) -> Any:
    """A run over a base; the first process makes its folder."""
    from medgym.storage.run_folder import RunFolder
    from medgym.train.recipe.schema import parse_recipe
    from medgym.train.run.opened import Run
    from medgym.train.run.processes import is_first

    if is_first() and not folder.exists():
        RunFolder.create(folder, "")
    data = {
        "name": "shared",
        "model": {"path": str(base)},
        "cases": {"train": f"{RADIOGRAPHS}:train[:5]", "test": f"{RADIOGRAPHS}:test[:3]"},
        "tools": {"names": ["zoom"]},
        "rollout": {"max_turns": 2, "max_tokens": 6, "view_size": 64},
        "demonstrations": {"policy": "scripted:oracle", "cases": f"{RADIOGRAPHS}:train[10:17]"},
        "sft": {
            "max_steps": 2, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2,
            "learning_rate": 1e-2, "save_steps": 1, "ddp_timeout": 2000,
        },
        "curriculum": {"difficulty": "self", "samples": 2},
        "grpo": {"max_steps": 1, "per_device_train_batch_size": 5, "num_generations": 1},
    }  # fmt: skip
    return Run(parse_recipe(data, "shared"), folder)


def cold_start(run: Any) -> None:
    from medgym.train.run.base import BaseStage
    from medgym.train.run.stage import do
    from medgym.train.sft.stage import ColdStartStage

    do((BaseStage(), ColdStartStage()), run)


def measure_and_judge(run: Any) -> None:
    from medgym.train.data.curriculum import CurriculumStage
    from medgym.train.run.judging import (
        Contestant,
        figures_of,
        judge_each,
        model_policy,
        write_figures,
    )
    from medgym.train.run.stage import do, once

    def judge() -> None:
        sampling = lambda greedy: run.sampling(greedy=greedy)  # noqa: E731
        load = partial(model_policy, run.place.cold_start)
        each = Contestant("cold_start", load, run.test, run.rules(run.test), sampling)
        found = {name: figures_of(judged) for name, judged in judge_each([each], run.place, 7)}
        write_figures(found, run.place)

    do((CurriculumStage(),), run)
    once(run.place, "judge", judge, together=True)


def main(base: Path, folder: Path, fails: bool) -> int:
    from medgym.train.run.processes import is_first, one_voice
    from medgym.train.sft.trainer import Imitator

    save = Imitator._save_checkpoint

    def failing(self: Any, model: Any, trial: Any) -> None:
        save(self, model, trial)
        raise UserError("the second one has a reason; fix: none")

    if fails and not is_first():
        Imitator._save_checkpoint = failing  # type: ignore[method-assign]
    run = run_of(base, folder)
    try:
        with one_voice():
            cold_start(run)
            assert waits() == 2000, "the recipe says for how long"
            measure_and_judge(run)
    except Exception as error:
        print(f"medgym: {error}", file=sys.stderr)
        return 2
    return 0


def waits() -> float:
    """Seconds for which the processes of a training wait for each other."""
    from torch import device, distributed

    group: Any = distributed.distributed_c10d._get_default_group()
    seconds: float = group._get_backend(device("cpu")).options._timeout.total_seconds()
    return seconds


def launched(base: Path, folder: Path, logs: Path, *, fails: bool) -> list[Ended]:
    return run_two(main, base, folder, fails, folder=logs, timeout=400)


@pytest.mark.slow
@pytest.mark.timeout(900)  # four processes start, on a busy machine slowly
def test_two_processes_do_what_one_does(tiny_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from medgym.storage.run_folder import content
    from medgym.storage.trajectories import TrajectoryStore

    one, two, again = (tmp_path / name for name in ("one", "two", "again"))
    broken = launched(tiny_folder, two, tmp_path, fails=True)
    assert 2 in [each.status for each in broken]
    said = [row for each in broken for row in each.stderr.splitlines() if row.startswith("medgym:")]
    assert said == ["medgym: the second one has a reason; fix: none"], broken
    assert [path.name for path in (two / "sft").glob("checkpoint-*")] == ["checkpoint-1"]
    resumed = launched(tiny_folder, two, tmp_path, fails=False)
    assert [each.status for each in resumed] == [0, 0], resumed

    cold_start(run_of(tiny_folder, one))
    assert content(TrajectoryStore(two / "trajectories")) == content(
        TrajectoryStore(one / "trajectories")
    )
    here, there = (load_file(folder / "cold_start" / "model.safetensors") for folder in (one, two))
    before = load_file(tiny_folder / "model.safetensors")
    assert here.keys() == there.keys()
    for name in here:
        assert (here[name] - there[name]).abs().max() < 1e-5, name
    assert max((here[name] - before[name]).abs().max() for name in here) > 1e-3
    steps = [
        [json.loads(line) for line in (folder / "cold_start.jsonl").open()] for folder in (one, two)
    ]
    assert [row["step"] for row in steps[1]] == [1, 2], "each step is told once"
    for ours, theirs in zip(*steps, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)

    shutil.copytree(two / "cold_start", again / "cold_start")
    (again / "manifest.json").write_bytes((two / "manifest.json").read_bytes())
    (again / "recipe.toml").write_text("")
    run = run_of(tiny_folder, again)
    for stage in ("base", "cold_start"):
        run.place.finish(stage, 0.0)
    measure_and_judge(run)
    for name in ("curriculum.jsonl", "judged.json"):
        expected = (again / name).read_text().replace(str(again), str(two))  # the policy's spec
        assert (two / name).read_text() == expected, name
    for name in ("curriculum/trajectories", "judged/cold_start"):
        played, alone = (
            {
                (t.case_id, t.member): [node.token_ids for node in t.nodes]
                for t in TrajectoryStore(f / name)
            }
            for f in (two, again)
        )
        assert played == alone, name
    assert len(TrajectoryStore(two / "curriculum/trajectories")) == 10


RECIPE = """
name = "both"
[model]
path = "{base}"
[cases]
train = "{cases}:train[200:230]"
test = "{cases}:test[:4]"
[tools]
names = ["zoom"]
[rollout]
max_turns = 2
max_tokens = 24
[demonstrations]
policy = "scripted:oracle"
cases = "{cases}:train[:4]"
[sft]
max_steps = 1
per_device_train_batch_size = 2
[consultation]
specialties = ["radiologist", "ophthalmologist", "pathologist"]
opinions = 1
[roles.specialist]
policy = "scripted:specialist,specialty={{specialty}}"
tools = []
[marl]
cases = 6
single = false
triage_reward = "outcome"
[lora]
r = 4
target_modules = '.*language_model.*q_proj'
[grpo]
max_steps = 2
per_device_train_batch_size = 4
num_generations = 4
beta = 0.0
report_to = ["none"]
"""


def command(words: list[str], stdout: Path) -> int:
    """`medgym`, of which each process writes its stdout into a file of its own."""
    from medgym.cli import main

    with stdout.with_name(f"{stdout.name}-{os.environ['RANK']}").open("w") as stream:
        os.dup2(stream.fileno(), 1)
    return main(words)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_do_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medgym.storage.run_folder import RunFolder, content
    from medgym.storage.trajectories import TrajectoryStore
    from medgym.train.consultation.training import Training
    from medgym.train.recipe.schema import load_recipe
    from medgym.train.run.opened import Run
    from medgym.train.tiny.base import tiny_base
    from medgym.trajectory import validate
    from tests.train.consultation.test_training import DIAGNOSES, QUICK

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe, out = tmp_path / "both.toml", tmp_path / "run"
    recipe.write_text(RECIPE.format(base=tiny_base(QUICK), cases=DIAGNOSES))
    words = ["train", str(recipe), "--out", str(out), "--json"]
    done = run_two(command, words, tmp_path / "stdout", folder=tmp_path, timeout=400)
    assert [each.status for each in done] == [0, 0], [each.stderr[-3000:] for each in done]
    said = json.loads((tmp_path / "stdout-0").read_text())
    assert said == json.loads((out / "results.json").read_text())
    assert (tmp_path / "stdout-1").read_text() == ""
    assert RunFolder.open(out).manifest["status"] == "done"
    for role in ("triage", "attending"):
        rows = (out / f"metrics-{role}.jsonl").read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == [1, 2]
        played = list(TrajectoryStore(out / f"trajectories/grpo-{role}"))
        assert sorted(Counter(t.case_id for t in played).values()) == [4, 4, 4, 4]
        for trajectory in played:
            validate(trajectory)
        assert [path.name for path in (out / "adapters" / role).iterdir()] == ["2"]

    # What specialists said and what it led to was shared out: one process finds the same. As its
    # steps have fewer episodes, it asks about fewer cases.
    loaded, _ = load_recipe(str(recipe))
    alone = tmp_path / "alone"
    shutil.copytree(out / "cold_start", alone / "cold_start")
    Training(Run(loaded, alone)).outcomes(0)
    found, expected = (
        set((folder / "outcomes-0.jsonl").read_text().splitlines()) for folder in (out, alone)
    )
    assert len(expected) > 3
    assert found > expected
    panels = [path.name for path in (alone / "opinions").iterdir()]
    assert len(panels) == 3
    for name in panels:
        said, wanted = (
            {
                t.case_id: content([t])
                for t in RunFolder.open(folder / "opinions" / name).trajectories
            }
            for folder in (out, alone)
        )
        assert wanted.items() <= said.items()


def test_shares_are_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    from medgym.train.run.processes import in_order, share

    for count in (1, 2, 3, 8):
        monkeypatch.setenv("WORLD_SIZE", str(count))
        for items in ([], [0], list(range(7))):
            shares = []
            for rank in range(count):
                monkeypatch.setenv("RANK", str(rank))
                shares.append(share(items))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            assert in_order(shares) == items


def test_a_checkpoint_is_resumed_by_as_many_processes_as_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medgym.train.run.processes import require_as_many

    (tmp_path / "rng_state.pth").touch()
    require_as_many(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"processes was 1 when .* and is 2 now; fix: start 1"):
        require_as_many(tmp_path)
    (tmp_path / "rng_state.pth").rename(tmp_path / "rng_state_0.pth")
    (tmp_path / "rng_state_1.pth").touch()
    require_as_many(tmp_path)


def test_who_speaks_of_processes_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from medgym.train.run import processes

    waited: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", waited.append)

    def waits(count: str, rank: str, error: Exception) -> float:
        monkeypatch.setenv("WORLD_SIZE", count)
        monkeypatch.setenv("RANK", rank)
        waited.clear()
        with pytest.raises(type(error)), processes.one_voice():
            raise error
        return sum(waited)

    reason, lost, other = UserError("no"), processes.PeerLost("lost"), RuntimeError("closed")
    assert waits("1", "0", reason) == waits("1", "0", other) == waits("2", "0", reason) == 0
    assert 0 < waits("2", "1", reason) < waits("2", "0", lost) == waits("2", "0", other)
    assert isinstance(lost, RunError)
