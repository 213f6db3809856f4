import json
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.metrics.rate import Rate
from medgym.storage.results import FORMAT, in_format_1, read_results, results

RATE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 8}
OLD_ROW = {
    "accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 8, "greedy": 0.25, "greedy_low": 0.1,
    "greedy_high": 0.4, "looked": 1.0, "hit": None, "turns": 2.0, "calls": 1.0, "tokens": 30.0,
    "by_answer": {"yes": 0.75}, "by_difficulty": {"hard": RATE}, "overruled": RATE,
}  # fmt: skip


def test_what_is_written_is_read_and_the_seconds_are_summed(tmp_path: Path) -> None:
    written = results({"command": "eval", "seed": 3}, {"x": {}}, {"a": 1.04, "b": 2.0})
    assert written["seconds"] == {"a": 1.04, "b": 2.0, "total": 3.0}
    (tmp_path / "results.json").write_text(json.dumps(written))
    assert read_results(tmp_path) == written
    assert written["policies"] == {"x": {}}
    assert (written["format"], written["seed"]) == (FORMAT, 3)


def test_a_training_of_an_older_medgym_reads_as_one_of_today(tmp_path: Path) -> None:
    old = {"recipe": "tiny", "seed": 0, "policies": {"grpo": OLD_ROW}, "seconds": {"total": 1.0}}
    (tmp_path / "results.json").write_text(json.dumps(old))
    found = read_results(tmp_path)
    sampled, greedy = found["policies"]["grpo"].values()
    assert (found["command"], found["recipe"]) == ("train", "tiny")
    assert sampled["accuracy"] == RATE
    assert greedy["accuracy"] == {"value": 0.25, "low": 0.1, "high": 0.4, "n": 8}
    assert (sampled["turns"], sampled["by_answer"]["yes"]["value"]) == (2.0, 0.75)
    assert sampled["metrics"] == {"difficulty/hard": RATE, "overruled": RATE}
    assert in_format_1("grpo", found["policies"]["grpo"]) == found["policies"]["grpo"]


def test_an_evaluation_of_an_older_medgym_reads_as_one_of_today(tmp_path: Path) -> None:
    old = {"policy": "scripted:prior", "cases": "phantom:test", "accuracy": RATE, "looked": 0.0}
    (tmp_path / "results.json").write_text(json.dumps(old))
    found = read_results(tmp_path)
    assert (found["command"], found["cases"]) == ("eval", "phantom:test")
    assert found["policies"]["scripted:prior"]["sampled"]["accuracy"] == RATE


@pytest.mark.parametrize("text", ["{", json.dumps({"format": FORMAT + 1})])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match="fix: "):
        read_results(tmp_path)


def test_a_rate_as_json() -> None:
    assert Rate(0.5, 0.4, 0.6, 8).as_dict() == RATE
