"""Recipes of several seeds: what is one recipe, what is compared, and what is listed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym.cli import main
from medgym.errors import UserError
from medgym.evals.outcomes.outcome import CaseOutcome
from medgym.evals.outcomes.table import write_outcomes
from medgym.evals.pooled import compare_pooled, require_one_recipe, runs_of
from medgym.storage.results import RESULTS
from medgym.storage.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
CASES = 60


def outcome(number: int, right: bool) -> CaseOutcome:
    verdict = "right" if right else "wrong"
    return CaseOutcome(
        benchmark="", case=f"{number}", case_hash="", source="own", group=f"{number // 2}",
        answer_type="choice", modality=None, body_part=None, language="en", member=0,
        scorer="choice", version="3", gold="a", answer="a" if right else "b", verdict=verdict,
        score=float(right), lenient_verdict=verdict, lenient_score=float(right), reward=None,
        looked=False, hit=None, turns=1, calls=0, tokens=0,
    )  # fmt: skip


def a_training(path: Path, recipe: Mapping[str, Any], share: float) -> str:
    """A finished training whose policy is right on about a share of the cases."""
    rng = np.random.default_rng([recipe["seed"], int(100 * share)])
    run = RunFolder.create(path, {"name": recipe["name"], "seed": recipe["seed"]}, recipe=recipe)
    write_outcomes(path, [outcome(n, bool(rng.random() < share)) for n in range(CASES)])
    rate = {"value": share, "low": share, "high": share, "n": CASES}
    judgement = {"policy": "grpo", "accuracy": rate}
    run.write_json(RESULTS, {"format": 1, "policies": {"grpo": {"sampled": judgement}}})
    run.finish()
    return str(path)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("recipes")
    return {
        name: [
            a_training(folder / f"{name}-{seed}", {"name": name, "seed": seed}, share + seed / 50)
            for seed in range(3)
        ]
        for name, share in (("weak", 0.2), ("strong", 0.9))
    }


def test_two_recipes_are_compared_over_seeds_and_cases(
    recipes: dict[str, list[str]], capsys: Capture
) -> None:
    weak, strong = recipes["weak"], recipes["strong"]
    (found,) = compare_pooled(weak, strong)
    assert found.difference.outcome == "win"
    assert (found.cases, found.difference.interval.groups) == (CASES, CASES // 2)
    assert found.difference.by_seeds > 0
    assert main(["compare", ",".join(weak), ",".join(strong)]) == 0
    out = capsys.readouterr().out
    assert " win" in out
    assert "between seeds  seeds    mean  lowest  highest  sd, points" in out
    assert main(["compare", ",".join(weak), ",".join(strong), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["recipes"][0]["benchmarks"]
    assert len(row["first"]) == len(row["second"]) == 3
    (tie,) = compare_pooled(weak[:2], weak[1:])
    assert tie.difference.outcome == "tie"


def test_what_is_no_recipe_with_seeds_is_refused(
    recipes: dict[str, list[str]], tmp_path: Path, capsys: Capture
) -> None:
    weak, strong = recipes["weak"], recipes["strong"]
    with pytest.raises(UserError, match=r"not of one recipe \(they differ in name\); fix:"):
        require_one_recipe([weak[0], strong[1]])
    again = a_training(tmp_path / "again", {"name": "weak", "seed": 0}, 0.3)
    with pytest.raises(UserError, match="one seed and one policy"):
        require_one_recipe([weak[0], again])
    with pytest.raises(UserError, match="names a run twice"):
        runs_of(f"{weak[0]},{weak[0]}/")
    with pytest.raises(UserError, match="without a name"):
        runs_of(f"{weak[0]},")
    assert main(["compare", weak[0], ",".join(strong)]) == 2
    assert "one seed does not say how much seeds differ; fix:" in capsys.readouterr().err


def test_a_folder_with_a_comma_is_one_run(recipes: dict[str, list[str]], tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert runs_of(str(tmp_path / "a,b")) == [str(tmp_path / "a,b")]
    assert runs_of(",".join(recipes["weak"])) == recipes["weak"]


def test_runs_lists_recipes_over_their_seeds(
    recipes: dict[str, list[str]], capsys: Capture
) -> None:
    folder = str(Path(recipes["weak"][0]).parent)
    assert main(["runs", folder, "--json"]) == 0
    found = [each for each in json.loads(capsys.readouterr().out) if "seeds" in each]
    assert [(each["recipe"], each["seeds"]) for each in found] == [
        ("strong", [0, 1, 2]), ("weak", [0, 1, 2]),
    ]  # fmt: skip
    assert found[1]["value"] == pytest.approx(0.22)
    assert found[1]["sd"] == pytest.approx(0.02)
    assert main(["runs", folder]) == 0
    out = capsys.readouterr().out
    assert "0, 1, 2" in out
    assert max(map(len, out.splitlines())) <= 80


def test_seeds_on_one_group_are_compared_in_figures_that_json_can_hold(
    tmp_path: Path, capsys: Capture
) -> None:
    runs = [str(tmp_path / f"{name}-{seed}") for name in "ab" for seed in range(2)]
    for run, recipe in zip(runs, ("a", "a", "b", "b"), strict=True):
        a_training(Path(run), {"name": recipe, "seed": int(run[-1])}, 0.5)
        write_outcomes(Path(run), [outcome(0, run[-1] == "0"), outcome(1, recipe == "b")])
    words = ["compare", ",".join(runs[:2]), ",".join(runs[2:])]
    assert main(words) == 0
    assert "which does not say how much groups differ" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    text = capsys.readouterr().out
    assert "Infinity" not in text
    gap = json.loads(text)["recipes"][0]["benchmarks"][0]["difference"]
    assert (gap["interval"]["low"], gap["interval"]["high"], gap["by_cases"]) == (-1.0, 1.0, None)
