"""A run of DPO is made longer as one of GRPO is: its own stage is done again, and judged."""

from pathlib import Path
from typing import Any

import pytest

from medgym.errors import UserError
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.train.run.lengthening import set_steps, stages_of, wait_for_steps


def finished(folder: Path, **tables: Any) -> RunFolder:
    """A run of some tables whose last checkpoint is at step 4."""
    recipe = {"grpo": {}, "dpo": {}} | tables
    run = RunFolder.create(folder, "", recipe=recipe)
    place = Place(folder)
    for stage in ("base", "cold_start", *(name for name in tables), "judge"):
        place.finish(stage, 1.0)
    name = "checkpoints" if tables.get("grpo") else "checkpoints-dpo"
    (folder / name / "checkpoint-4").mkdir(parents=True)
    (folder / "results.json").write_text("{}")
    return run


def test_dpo_is_continued_where_there_is_no_grpo(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", dpo={"max_steps": 4})
    wanted = {"grpo": {}, "dpo": {"max_steps": 6}}
    set_steps(run, wanted)
    assert Place(run.path).stages().keys() == {"base", "cold_start"}
    entry = RunFolder.open(run.path).manifest["history"][-1]
    assert entry["changed"] == {"dpo.max_steps": [4, 6]}
    assert (entry["at_step"], entry["results"]) == (4, "results-4.json")
    wait_for_steps(run.path, 6)  # which would wait for ever
    with pytest.raises(UserError, match="has done 4 steps and --max-steps is 3; fix: "):
        set_steps(run, {"grpo": {}, "dpo": {"max_steps": 3}})


def test_with_grpo_it_is_grpo_and_rounds_keep_their_length(tmp_path: Path) -> None:
    both = {"grpo": {"max_steps": 6}, "dpo": {"max_steps": 4}}
    run = finished(tmp_path / "both", grpo={"max_steps": 4}, dpo={"max_steps": 4})
    set_steps(run, both)
    assert stages_of(both) == ("grpo", "judge")
    assert Place(run.path).stages().keys() == {"base", "cold_start", "dpo"}
    rounds = {"grpo": {}, "dpo": {"max_steps": 6, "rounds": 2}}
    other = finished(tmp_path / "rounds", dpo={"max_steps": 4, "rounds": 2})
    with pytest.raises(UserError, match=r"learns in rounds, .*; fix: begin a new run with --max-s"):
        set_steps(other, rounds)
