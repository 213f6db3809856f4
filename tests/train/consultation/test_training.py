"""A consultation is trained from a recipe, stage by stage, by a model too small to learn much."""

import json
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.consultation.opinions import SPECIALTIES, chosen
from medgym.consultation.role_policies import RolePolicies
from medgym.consultation.team import Team, consultation_team
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.commands.view import write_page
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.consultation import judging
from medgym.train.consultation import opinions as advice
from medgym.train.consultation import run as consultation_run
from medgym.train.consultation.ablation import ablate
from medgym.train.consultation.report import NAMES, print_results
from medgym.train.consultation.run import run_consultation
from medgym.train.consultation.training import BASE, Training
from medgym.train.consultation.triage_reward import Outcomes
from medgym.train.doctor.command import examine
from medgym.train.doctor.subject import subject_of
from medgym.train.recipe.schema import StageTable, load_recipe, parse_recipe
from medgym.train.run.judging import model_policy
from medgym.train.run.opened import Run
from medgym.train.run.stages import START
from medgym.train.tiny.base import BaseConfig, tiny_base
from medgym.train.tiny.model import TinyConfig
from medgym.trajectory import validate

SPECIALISTS = ["radiologist", "ophthalmologist", "pathologist"]
DIAGNOSES = "phantom,look=radiograph+fundus+histology,question=diagnosis"
QUICK = BaseConfig(
    model=TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2),
    cases=f"{DIAGNOSES}:train[:40]",
    spoiled=f"{DIAGNOSES}:train[100:120]",
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
    data["cases"] = {"train": f"{DIAGNOSES}:train[200:260]", "test": f"{DIAGNOSES}:test[:6]"}
    data["grpo"] |= {
        "max_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4, "save_steps": 1,
    }  # fmt: skip
    data["marl"] = {
        "cases": 24,
        "rounds": 2,
        "stages": [
            {"difficulty": "hard", "share": 0.5, "entropy": 0.01},
            {"difficulty": "hard", "share": 0.5, "entropy": 0.02},
        ],
    }
    return parse_recipe(data | changes, "small")


@contextmanager
def few_judged(*names: str) -> Iterator[None]:
    """Judge the consultation and these alone: that all are judged is seen in one run."""
    contestants = judging.contestants

    def few(*given: Any) -> Any:
        first, *others = contestants(*given)
        return [first, *(each for each in others if each.name in names)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "contestants", few)
        yield


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "consult"
    recipe = small(base)
    RunFolder.create(folder, "", recipe=json.loads(recipe.model_dump_json()))
    return recipe, folder, run_consultation(Run(recipe, folder))


@pytest.mark.slow
def test_every_policy_is_judged_with_intervals_and_by_difficulty(run: Any) -> None:
    _, folder, results = run
    assert results == json.loads((folder / "results.json").read_text())
    policies = results["policies"]
    assert {
        "attending", "attending_before", "majority", "single", "triage", "triage_before",
        "no_triage", "no_specialists", "single_majority", "oracle",
    } == set(policies)  # fmt: skip
    sampled = {name: row["sampled"] for name, row in policies.items()}
    for row in policies.values():
        for judgement in (row["sampled"], row["greedy"]):
            rate = judgement["accuracy"]
            assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
            assert rate["n"] == 6
    for name in ("attending", "attending_before", "majority"):
        metrics = sampled[name]["metrics"]
        levels = [metrics[f"difficulty/{level}"] for level in ("easy", "medium", "hard")]
        assert sum(level["n"] for level in levels) == 6
        assert metrics["overruled"]["n"] <= levels[-1]["n"]
    assert sampled["single_majority"]["tokens"] > 3 * sampled["single"]["tokens"] > 0
    assert sampled["attending"]["turns"] > sampled["triage"]["turns"] == 1
    assert sampled["oracle"]["calls"] >= 1


@pytest.mark.slow
def test_the_table_has_a_line_for_each_policy(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder, results = run
    print_results(results, folder)
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.split()[-9::2] == ["easy", "medium", "hard", "overruled", "tokens"]
    assert len(lines) == len(results["policies"])
    assert {len(line) for line in (head, *lines)} == {len(head)}
    for name, line in zip(results["policies"], lines, strict=True):
        assert line.startswith(f"{NAMES[name]}  ")
    assert str(folder) in last


@pytest.mark.slow
def test_all_that_was_played_can_be_looked_at(run: Any) -> None:
    _, folder, _ = run
    written = write_page(RunFolder.open(folder))
    assert {"judged/attending", "trajectories/grpo-triage", "trajectories/grpo-attending"} <= set(
        written["stores"]
    )
    for trajectory in TrajectoryStore(folder / "judged" / "attending"):
        for node in trajectory.nodes:
            for use in node.images:
                assert RunFolder(folder).images.has(use.sha256)


@pytest.mark.slow
def test_rounds_alternate_and_each_role_has_its_own_adapter(run: Any) -> None:
    _, folder, results = run
    stages = [stage for stage in results["seconds"] if stage != "total"]
    assert stages == [
        "base", "cold_start", "triage 1", "opinions 1", "attending 1", "triage 2", "opinions 2",
        "attending 2", "single", "judge",
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
    versions: dict[str, set[str]] = {"triage": set(), "attending": set()}
    for trajectory in collect(cases, policy, Rules(view_size=64)):
        validate(trajectory)
        parts = dict(trajectory.parts())
        for role, seen in versions.items():
            seen.add(parts[role].version)
    # One adapter for each role, whatever the case, and no two roles share one.
    (triage,), (attending_version,) = versions["triage"], versions["attending"]
    assert "" not in (triage, attending_version)
    assert triage != attending_version
    tables = tomllib.loads((folder / "consultation.toml").read_text())
    assert tables["roles"]["triage"]["adapter"] == "adapters/triage/2"
    assert "max_turns" not in tables["roles"]["triage"]
    attending = tables["roles"]["attending"]
    assert (attending["max_turns"], attending["max_tokens"], attending["tools"]) == (
        2,
        24,
        ["zoom"],
    )
    policy.close()


@pytest.mark.slow
def test_a_folder_that_was_moved_plays_on(run: Any, tmp_path: Path) -> None:
    _, folder, _ = run
    for name in ("cold_start", "adapters", "consultation.toml"):
        (shutil.copytree if (folder / name).is_dir() else shutil.copy)(
            folder / name, tmp_path / name
        )
    case = list(open_cases(f"{DIAGNOSES}:test[20:21]"))
    here, there = (load_policy(f"consultation:{each}") for each in (folder, tmp_path))
    (one,), (other,) = (list(collect(case, each, Rules(view_size=64))) for each in (here, there))
    here.close(), there.close()
    assert str(tmp_path) in dict(other.parts())["attending"].policy
    assert [node.token_ids for node in one.nodes] == [node.token_ids for node in other.nodes]


@pytest.mark.slow
def test_the_doctor_examines_the_attending_of_a_run(run: Any) -> None:
    _, folder, _ = run
    subject = subject_of(str(folder), None)
    assert "attending physician" in subject.rules.prompt
    assert all("Opinions: none" in case.context for case in subject.cases)
    assert hasattr(subject.model, "peft_config")
    checks = {check.check: check.verdict for check in examine(subject)}
    assert checks["records"] == checks["agreement"] == "pass"


@pytest.mark.slow
def test_a_finished_run_does_nothing_again(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folder, results = run
    monkeypatch.setattr(consultation_run, "judged", lambda *_: pytest.fail("done again"))
    for stage in START:
        monkeypatch.setattr(type(stage), "do", lambda *_: pytest.fail("done again"))
    assert run_consultation(Run(recipe, folder)) == results


@pytest.mark.slow
def test_opinions_are_collected_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folder, _ = run
    training = Training(Run(recipe, folder))
    policies = RolePolicies()
    policies.add(BASE, model_policy(str(folder / "cold_start")))
    team = training.team(policies)
    cases = list(open_cases(recipe.cases.train))[:20]
    first = training.advice(team, "again").triaged(cases)
    played: list[int] = []
    collected = advice.collect_shared

    def counted(some: Any, policy: Any, *args: Any, **options: Any) -> Any:
        if isinstance(policy, Team):
            played.append(len(some))
        return collected(some, policy, *args, **options)

    monkeypatch.setattr(advice, "collect_shared", counted)
    assert training.advice(team, "again").triaged(cases) == first
    assert sum(played) == 0
    assert sum(len(each.opinions) for each in first) % 3 == 0


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        ({"attending": {"policy": "scripted:vote"}}, "has a policy and is trainable"),
        ({"attending": {"policy": "scripted:vote", "trainable": False}}, "must be trained"),
        ({"attending": {"hears": ["specialist", "reader"]}, "reader": {}}, "is another"),
        ({"specialist": {"policy": "scripted:prior", "hears": []}}, "is another"),
        ({"triage": {"trainable": False}}, "triage. has no policy"),
        ({"specialist": {"policy": "scripted:prior", "trainable": True}}, "and is trainable"),
        ({"surgeon": {}}, "role in consult-tiny"),
    ],
)
def test_roles_that_cannot_be_trained_are_refused(
    base: Path, tmp_path: Path, roles: dict[str, Any], text: str
) -> None:
    roles = {"specialist": {"policy": "scripted:prior"}, **roles}
    with pytest.raises(UserError, match=text):
        Training(Run(small(base, roles=roles), tmp_path))


def test_easy_cases_are_no_reason_to_stop_as_blind(base: Path, tmp_path: Path) -> None:
    recipe = small(base)
    stages = [
        StageTable(difficulty=name, share=share)
        for name, share in (("easy", 0.3), ("medium", 0.3), ("hard", 0.4))
    ]
    changes = {
        "marl": recipe.marl.model_copy(update={"stages": tuple(stages)}),
        "grpo": recipe.grpo | {"max_steps": 100},
        "sight": recipe.sight.model_copy(update={"every": 10, "patience": 3}),
    }
    training = Training(Run(recipe.model_copy(update=changes), tmp_path))
    sight = {role: training.of_role(role).sight for role in ("triage", "attending", "single")}
    assert sight["triage"].every == 0
    assert (sight["attending"].patience, sight["single"].patience) == (6, 3)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"consultation": {"flow": "dynamic"}}, "learns in the static flow"),
        ({"grpo": {"learning_rate": 1e-3}}, r"\[roles.triage\] has no number of training steps"),
    ],
)
def test_what_training_cannot_do_is_said_before_it_begins(
    base: Path, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    recipe = small(base).model_copy(update=changes)
    with pytest.raises(UserError, match=text):
        Training(Run(recipe, tmp_path))


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
    shutil.copytree(folder, whole, dirs_exist_ok=True)
    RunFolder(whole).note(recipe=json.loads(recipe.model_dump_json(exclude_none=True)))
    monkeypatch.setattr(Training, "triage", lambda *_: pytest.fail("trained again"))
    with few_judged():
        rows = ablate(recipe, tmp_path)
    assert [row.name for row in rows[-3:]] == [
        "consultation, no curriculum",
        "consultation, hard only",
        "consultation, no curriculum, no triage",
    ]
    assert len(json.loads((tmp_path / "ablation.json").read_text())) == 13
    assert not (tmp_path / "hard_only" / "adapters" / "single").exists()
    manifest = json.loads((tmp_path / "hard_only" / "manifest.json").read_text())
    assert manifest["recipe"]["sight"]["every"] == 0, "a variant may go blind"
    opinions = tmp_path / "no_curriculum_no_triage" / "difficulty-1.jsonl"
    for row in map(json.loads, opinions.read_text().splitlines()):
        assert sorted(who for who, _ in row["opinions"]) == sorted(SPECIALTIES)


@pytest.fixture(scope="module")
def trained_doctors(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "doctors"
    folder.mkdir()
    recipe = small(
        base,
        roles={"specialist": {"trainable": True}},
        consultation={"specialties": SPECIALISTS, "opinions": 1, "reasons": False},
    )
    marl = {"rounds": 2, "triage_reward": "outcome", "single": False, "stages": (), "cases": 12}
    recipe = recipe.model_copy(update={"marl": recipe.marl.model_copy(update=marl)})
    with few_judged(*(f"specialist:{each}" for each in SPECIALISTS)):
        return recipe, folder, run_consultation(Run(recipe, folder))


@pytest.mark.slow
def test_trained_specialists_have_an_adapter_each_which_the_consultation_plays_by(
    trained_doctors: Any,
) -> None:
    _, folder, results = trained_doctors
    stages = [stage for stage in results["seconds"] if stage not in ("total", "base")]
    assert stages == [
        "cold_start", "specialists 1", "outcomes 1", "triage 1", "opinions 1", "attending 1",
        "specialists 2", "outcomes 2", "triage 2", "opinions 2", "attending 2", "judge",
    ]  # fmt: skip
    for specialty in SPECIALISTS:
        held = folder / "adapters" / f"specialist-{specialty}"
        assert sorted(path.name for path in held.iterdir()) == ["1", "2"]
        played = list(TrajectoryStore(folder / f"trajectories/grpo-specialist-{specialty}"))
        cases = {case.id: case for case in open_cases(f"{DIAGNOSES}:train[200:260]")}
        assert {cases[t.case_id].specialty for t in played} == {specialty}
        assert all(f"You are the {specialty} whom" in t.nodes[0].text for t in played)
        judged = results["policies"][f"specialist:{specialty}"]["sampled"]["accuracy"]
        assert judged["n"] == sum(
            case.specialty == specialty for case in open_cases(f"{DIAGNOSES}:test[:6]")
        )
    whole: Any = load_policy(f"consultation:{folder}")
    team = consultation_team(whole.recipe.without_triage(), whole.policies)
    trajectory = next(collect(open_cases(f"{DIAGNOSES}:test[20:21]"), team, Rules(view_size=64)))
    versions = {role: part.version for role, part in trajectory.parts()}
    assert versions == {
        "attending": "attending-2",
        **{f"specialist:{each}": f"specialist-{each}-2" for each in SPECIALISTS},
    }
    team.close()


@pytest.mark.slow
def test_triage_earns_what_its_choice_led_to(trained_doctors: Any) -> None:
    _, folder, _ = trained_doctors
    for number in (0, 1):
        rows = [json.loads(row) for row in (folder / f"outcomes-{number}.jsonl").open()]
        cases = {row["case"] for row in rows}
        assert len(rows) == len(cases) * len(SPECIALISTS)
    played = list(TrajectoryStore(folder / "trajectories/grpo-triage"))
    assert len(played) == 16
    for number, some in enumerate((played[:8], played[8:])):
        right = Outcomes.read(folder / f"outcomes-{number}.jsonl", 1).right
        for trajectory in some:
            named = frozenset(chosen(trajectory.answer, SPECIALISTS, 1))
            assert trajectory.terms is not None
            assert trajectory.terms["outcome"] == right.get((trajectory.case_id, named), 0.0)
            form = trajectory.terms["format"]
            assert trajectory.reward == trajectory.terms["outcome"] + 0.5 * form
