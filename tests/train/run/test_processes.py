"""A recipe is trained by two processes, as `torchrun` starts them; each thing is written once."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from medgym.storage.run_folder import RunFolder, content
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.consultation.training import Training
from medgym.train.recipe.schema import load_recipe
from medgym.train.run.opened import Run
from medgym.train.tiny.base import tiny_base
from medgym.trajectory import validate
from tests.train.consultation.test_training import DIAGNOSES, QUICK

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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_do_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe, out = tmp_path / "both.toml", tmp_path / "run"
    recipe.write_text(RECIPE.format(base=tiny_base(QUICK), cases=DIAGNOSES))
    command = Path(sys.executable).with_name("medgym")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(command), "train", str(recipe), "--out", str(out), "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == json.loads((out / "results.json").read_text())
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
