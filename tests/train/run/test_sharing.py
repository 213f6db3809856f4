"""What two processes share out is what one process does by itself."""

import json
import shutil
import sys
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
