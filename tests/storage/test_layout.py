"""The folder of a training run, as every version wrote it."""

from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.storage.layout import Place, base_in_run


def test_what_belongs_to_one_of_several_roles_has_its_name(tmp_path: Path) -> None:
    alone, triage = Place(tmp_path), Place(tmp_path, "triage")
    assert (alone.metrics.name, triage.metrics.name) == ("metrics.jsonl", "metrics-triage.jsonl")
    assert triage.rollouts == tmp_path / "trajectories" / "grpo-triage"
    assert triage.checkpoints == tmp_path / "checkpoints-triage"
    assert alone.cold_start == triage.cold_start
    assert alone.judged("specialist:a").name == "specialist-a"


def test_the_trained_policy_is_the_newest_adapter_or_the_whole_model(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(UserError, match="holds no trained policy yet; fix: "):
        _ = place.trained
    for step in (9, 25, 100):
        (tmp_path / "adapters" / "policy" / str(step)).mkdir(parents=True)
    assert place.trained == (tmp_path / "cold_start", tmp_path / "adapters" / "policy" / "100")
    place.whole.mkdir()
    assert place.trained == (tmp_path / "trained", None)


def test_the_base_of_an_adapter_is_found_where_its_run_was_moved(tmp_path: Path) -> None:
    adapter = tmp_path / "run" / "adapters" / "policy" / "4"
    adapter.mkdir(parents=True)
    assert base_in_run(adapter) is None
    (tmp_path / "run" / "cold_start").mkdir()
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert base_in_run(moved / "adapters" / "policy" / "4") == moved / "cold_start"
    assert base_in_run(Path("/")) is None


def test_finished_stages_are_listed_with_their_seconds(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.stages() == {}
    place.finish("base", 1.26)
    place.finish("cold_start", 2)
    assert place.stages() == {"base": 1.3, "cold_start": 2}
