"""A consultation is trained from a recipe, stage by stage, by a model too small to learn much."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.consultation import Team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.runs import RunFolder
from medgym.train import consult as module
from medgym.train.ablation import ablate
from medgym.train.consult import Training, run_consultation
from medgym.train.pipeline import Place
from medgym.train.recipe import StageTable, load_recipe, parse_recipe
from medgym.train.tiny_base import BaseConfig, tiny_base
from medgym.train.tiny_model import TinyConfig
from medgym.trajectory import validate

DIAGNOSES = "phantom,look=radiograph+fundus+histology,question=diagnosis"
QUICK = BaseConfig(
    model=TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2),
    cases=f"{DIAGNOSES}:train[:80]",
    spoiled=f"{DIAGNOSES}:train[100:140]",
    warm_steps=2,
    steps=4,
    spoil_steps=2,
    batch=4,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield tiny_base(QUICK)


def small(base: Path, **changes: Any) -> Any:
    path, _ = load_recipe("consult-tiny")
    data = json.loads(path.model_dump_json())
    data["model"] = {"path": str(base)}
    data["cases"] = {"train": f"{DIAGNOSES}:train[200:260]", "test": f"{DIAGNOSES}:test[:12]"}
    data["grpo"] |= {
        "max_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4, "save_steps": 1,
    }  # fmt: skip
    data["marl"] = {
        "cases": 40,
        "rounds": 2,
        "stages": [
            {"difficulty": "hard", "share": 0.5, "entropy": 0.01},
            {"difficulty": "hard", "share": 0.5, "entropy": 0.02},
        ],
    }
    return parse_recipe(data | changes, "small")


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "consult"
    folder.mkdir()
    recipe = small(base)
    return recipe, folder, run_consultation(recipe, folder)


@pytest.mark.slow
def test_every_policy_is_judged_with_intervals_and_by_difficulty(run: Any) -> None:
    _, folder, results = run
    assert results == json.loads((folder / "results.json").read_text())
    policies = results["policies"]
    assert {
        "attending", "attending_before", "majority", "single", "triage", "triage_before",
        "no_triage", "no_specialists", "single_majority", "oracle",
    } == set(policies)  # fmt: skip
    for row in policies.values():
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
        assert row["n"] == 12
    for name in ("attending", "attending_before", "majority"):
        levels = policies[name]["by_difficulty"]
        assert sum(level["n"] for level in levels.values()) == 12


@pytest.mark.slow
def test_rounds_alternate_and_each_role_has_its_own_adapter(run: Any) -> None:
    _, folder, results = run
    stages = [stage for stage in results["seconds"] if stage != "total"]
    assert stages == [
        "base", "cold_start", "triage 1", "attending 1", "triage 2", "attending 2", "single",
        "judge",
    ]  # fmt: skip
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    for role in ("triage", "attending", "single"):
        rows = Place(folder, role).metrics.read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == [1, 2]
        versions = sorted(path.name for path in (folder / "adapters" / role).iterdir())
        assert versions == (["2"] if role == "single" else ["1", "2"])
        model = AutoModelForImageTextToText.from_pretrained(folder / "cold_start")
        PeftModel.from_pretrained(model, folder / "adapters" / role / "2")


@pytest.mark.slow
def test_the_entropy_bonus_follows_the_stages(run: Any) -> None:
    _, folder, _ = run
    rows = map(json.loads, Place(folder, "attending").metrics.read_text().splitlines())
    assert [row["entropy_coef"] for row in rows] == [0.01, 0.02]


@pytest.mark.slow
def test_what_was_trained_is_played_by_the_folders_name(run: Any) -> None:
    _, folder, _ = run
    policy = load_policy(f"consultation:{folder}")
    assert isinstance(policy, Team)
    cases = open_cases(f"{DIAGNOSES}:test[20:23]")
    for trajectory in collect(cases, policy, Rules(view_size=64)):
        validate(trajectory)
        parts = dict(trajectory.parts())
        assert parts["triage"].version == parts["triage"].version != ""
        assert parts["attending"].version != parts["triage"].version
    tables = tomllib.loads((folder / "consultation.toml").read_text())
    assert tables["roles"]["triage"]["adapter"] == "adapters/triage/2"
    policy.close()


@pytest.mark.slow
def test_a_finished_run_does_nothing_again(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folder, results = run
    for name in ("judged", "cold_start", "load_base"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("done again"))
    assert run_consultation(recipe, folder) == results


@pytest.mark.slow
def test_opinions_are_collected_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folder, _ = run
    training = Training(recipe, folder)
    team = training.team(triage=training.newest("triage"), attending=None)
    cases = list(open_cases(recipe.cases.train))[:20]
    first = training.advised(cases, team, "again")
    played: list[int] = []
    collected = module.collect

    def counted(some: Any, policy: Any, *args: Any, **options: Any) -> Any:
        if isinstance(policy, Team):
            played.append(len(some))
        return collected(some, policy, *args, **options)

    monkeypatch.setattr(module, "collect", counted)
    assert training.advised(cases, team, "again") == first
    assert sum(played) == 0
    assert sum(len(opinions) for _, opinions in first) % 3 == 0


def test_cases_of_no_known_specialty_are_refused(base: Path, tmp_path: Path) -> None:
    recipe = small(base, consultation={"specialties": ["surgeon", "radiologist"]})
    with pytest.raises(UserError, match="of no specialty that triage may choose"):
        run_consultation(recipe, tmp_path)


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        ({"attending": {"policy": "scripted:vote"}}, "leave their policy out"),
        ({"triage": {"trainable": False}}, "leave their policy out"),
        ({"surgeon": {}}, "role in consult-tiny"),
    ],
)
def test_roles_that_cannot_be_trained_are_refused(
    base: Path, tmp_path: Path, roles: dict[str, Any], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        Training(small(base, roles=roles), tmp_path)


@pytest.mark.slow
def test_the_ablation_trains_the_attending_again_and_shares_the_rest(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe, folder, _ = run
    stages = [
        {"difficulty": "hard", "share": 0.5, "entropy": 0.0},
        {"difficulty": "easy", "share": 0.5, "entropy": 0.0},
    ]
    marl = recipe.marl.model_copy(update={"stages": tuple(StageTable(**s) for s in stages)})
    recipe = recipe.model_copy(update={"marl": marl})
    whole = tmp_path / "whole"
    RunFolder.create(whole, "")
    shutil.copytree(folder, whole, dirs_exist_ok=True)
    monkeypatch.setattr(module.Training, "triage", lambda *_: pytest.fail("trained again"))
    rows = ablate(recipe, tmp_path)
    assert [row.name for row in rows[-2:]] == [
        "consultation, no curriculum",
        "consultation, hard only",
    ]
    assert len(json.loads((tmp_path / "ablation.json").read_text())) == 12
    assert not (tmp_path / "hard_only" / "adapters" / "single").exists()
