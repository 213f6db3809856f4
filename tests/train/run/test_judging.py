"""The policies of a run are judged one after another: each loaded, judged and closed."""

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.policy import Policy, Sampling, load_policy
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.judging import (
    Contestant,
    figures_of,
    judge_each,
    model_policy,
    write_figures,
    write_results,
)
from medgym.train.run.opened import Run

CASES = open_cases("phantom,look=radiograph,question=kind:test[:2]")
RULES = Rules.for_cases(CASES, max_turns=1)


def test_no_two_models_are_held_at_once(tiny_folder: Path, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", "")
    models: list[weakref.ref[Any]] = []
    closed: list[str] = []

    def load(name: str) -> Policy:
        gc.collect()
        assert [ref() for ref in models] == [None] * len(models), "the last model is still held"
        policy = model_policy(str(tiny_folder))
        close = policy.close

        def closing() -> None:
            closed.append(name)
            close()

        policy.close = closing  # type: ignore[method-assign]
        models.append(weakref.ref(policy.model))
        return policy

    def sampling(greedy: bool) -> Sampling:
        return Sampling(max_tokens=4, temperature=0.0 if greedy else 1.0)

    def contestant(name: str) -> Contestant:
        return Contestant(name, lambda: load(name), CASES, RULES, sampling)

    asked = [contestant(name) for name in ("first", "second", "single:a")]
    found = dict(judge_each(asked, Place(tmp_path / "run"), 0))
    assert list(found) == closed == ["first", "second", "single:a"]
    assert found["first"].sampled.accuracy.n == 2
    assert len(TrajectoryStore(tmp_path / "run" / "judged" / "single-a")) == 2


def test_a_policy_that_fails_is_closed(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", "")
    closed: list[str] = []

    class Down(Policy):
        spec = "down"

        async def act(self, conversation: Any, sampling: Sampling) -> Any:
            raise ZeroDivisionError("down")

        def close(self) -> None:
            closed.append("down")

    each = Contestant("down", Down, CASES, RULES, lambda greedy: Sampling())
    with pytest.raises(Exception, match="down"):
        list(judge_each([each], Place(tmp_path / "run"), 0))
    assert closed == ["down"]


def test_results_have_one_schema_also_where_an_older_version_judged(tmp_path: Path) -> None:
    spec = "phantom,look=radiograph,question=kind:test[:2]"
    data = {"name": "old", "model": {"build": "tiny"}, "cases": {"train": spec, "test": spec}}
    run = Run(parse_recipe(data, "old"), tmp_path)
    old = {
        "accuracy": 0.5, "low": 0.2, "high": 0.8, "n": 2, "greedy": 1.0, "greedy_low": 0.4,
        "greedy_high": 1.0, "looked": 0.0, "hit": None, "turns": 1.0, "calls": 0.0,
        "tokens": 3.0, "by_answer": {"mass": 0.5},
    }  # fmt: skip
    write_figures({"grpo": old}, run.place)
    run.place.finish("judge", 1.25)
    results = write_results(run)
    assert results == json.loads((tmp_path / "results.json").read_text())
    sampled = results["policies"]["grpo"]["sampled"]
    assert sampled["accuracy"] == {"value": 0.5, "low": 0.2, "high": 0.8, "n": 2}
    assert results["policies"]["grpo"]["greedy"]["accuracy"]["value"] == 1.0
    assert (results["command"], results["cases"], results["rubric"]) == ("train", spec, "outcome")
    assert results["view_size"] == run.rules(run.test).view_size
    assert results["sampling"] == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 512}
    assert results["seconds"] == {"judge": 1.2, "total": 1.2}


def test_what_is_judged_is_what_the_schema_names(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", "")
    each = Contestant(
        "oracle", lambda: load_policy("scripted:oracle"), CASES, RULES, lambda _: Sampling()
    )
    ((_, judged),) = judge_each([each], Place(tmp_path / "run"), 0)
    figures = figures_of(judged)
    assert figures["sampled"]["policy"] == figures["greedy"]["policy"] == "scripted:oracle"
