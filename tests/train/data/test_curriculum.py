"""Cases are ordered by how often a policy solves them, chosen by a curator, and written down."""

import json
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.policy import Sampling, load_policy
from medgym.registry import load
from medgym.storage.run_folder import RunFolder
from medgym.tool import load_tools
from medgym.train.data.curriculum import arrange, arranged, asked_for
from medgym.train.data.order import needed
from medgym.train.data.records import Records
from medgym.train.recipe.schema import CurriculumTable, Recipe, parse_recipe
from medgym.train.tiny.model import TinyConfig, build_model

SPEC = "phantom,look=radiograph,question=kind:train[:40]"
CASES = list(open_cases(SPEC))
RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
PRIOR = "scripted:prior"


@pytest.fixture
def student(tiny_processor: Any) -> Any:
    config = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)
    model = build_model(config, tiny_processor.tokenizer, seed=0)
    policy = load("policies", "hf")(model, tiny_processor)
    policy.spec = "the base"
    return policy


def recipe(steps: int = -1, **curriculum: Any) -> Recipe:
    grpo = {"max_steps": steps, "per_device_train_batch_size": 4, "num_generations": 4}
    data = {
        "name": "test",
        "model": {"build": "tiny"},
        "cases": {"train": SPEC, "test": SPEC},
        "curriculum": curriculum,
        "grpo": grpo,
    }
    return parse_recipe(data, "test")


def write(asked: Recipe, student: Any, folder: Path) -> list[dict[str, Any]]:
    arrange(asked, CASES, student, RULES, Sampling(max_tokens=4), folder)
    return [json.loads(line) for line in (folder / "curriculum.jsonl").open()]


def test_cases_come_from_easy_to_hard(student: Any, tmp_path: Path) -> None:
    rows = write(recipe(difficulty=PRIOR, samples=4), student, tmp_path)
    rates = [row["success"] for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) > 2
    played: dict[str, list[bool]] = {}
    for trajectory in RunFolder.open(tmp_path / "curriculum").trajectories:
        played.setdefault(trajectory.case_id, []).append(trajectory.correct)
    assert {row["case"]: row["success"] for row in rows} == {
        name: sum(right) / 4 for name, right in played.items()
    }
    cases = arranged(CASES, tmp_path)
    assert [case.id for case in cases] == [row["case"] for row in rows]
    assert sorted(cases, key=lambda c: c.id) == sorted(CASES, key=lambda c: c.id)


def test_of_cases_equally_hard_the_order_stays(student: Any, tmp_path: Path) -> None:
    rows = write(recipe(difficulty="scripted:oracle", samples=1), student, tmp_path)
    assert [row["case"] for row in rows] == [case.id for case in CASES]


def test_only_what_is_needed_is_measured(student: Any, tmp_path: Path) -> None:
    rows = write(recipe(steps=6, difficulty=PRIOR, samples=1), student, tmp_path)
    assert {row["case"] for row in rows} == {case.id for case in CASES[:6]}


def test_difficulty_is_not_measured_twice(student: Any, tmp_path: Path) -> None:
    asked = recipe(difficulty=PRIOR, samples=2)
    first = write(asked, student, tmp_path)
    parts = RunFolder.open(tmp_path / "curriculum").trajectories.parts()
    assert write(asked, student, tmp_path) == first
    assert RunFolder.open(tmp_path / "curriculum").trajectories.parts() == parts


def test_the_policy_itself_can_be_asked(student: Any, tmp_path: Path) -> None:
    rows = write(recipe(steps=2, difficulty="self", samples=1), student, tmp_path)
    assert [row["success"] for row in rows] == [0.0, 0.0]


def test_what_the_curator_leaves_out_is_on_record(student: Any, tmp_path: Path) -> None:
    rows = write(recipe(share=0.4), student, tmp_path)
    assert len(rows) == 16
    places = [next(i for i, c in enumerate(CASES) if c.id == row["case"]) for row in rows]
    assert places == sorted(places), "the order of the cases stays"
    left_out = Records(tmp_path).rows()
    assert len(left_out) == 24
    assert {row["stage"] for row in left_out} == {"curriculum"}
    assert {row["why"] for row in left_out} <= {"outlier", "redundant"}
    write(recipe(share=0.4), student, tmp_path)
    assert Records(tmp_path).rows() == left_out


def test_the_curator_chooses_from_a_larger_pool_than_is_needed(
    student: Any, tmp_path: Path
) -> None:
    rows = write(recipe(steps=5, share=0.25, difficulty=PRIOR, samples=1), student, tmp_path)
    assert len(rows) == 5
    assert len(RunFolder.open(tmp_path / "curriculum").trajectories) == 20


@pytest.mark.parametrize(
    ("grpo", "groups"),
    [
        ({}, 100),
        ({"max_steps": 3}, 3),
        ({"max_steps": 3, "per_device_train_batch_size": 64, "num_generations": 16}, 12),
        ({"max_steps": 3, "gradient_accumulation_steps": 4}, 12),
        ({"max_steps": 3, "gradient_accumulation_steps": 4, "num_iterations": 2}, 6),
        ({"max_steps": 1000}, 100),
    ],
)
def test_as_many_cases_are_needed_as_there_are_groups(grpo: dict[str, int], groups: int) -> None:
    assert needed(grpo, 100) == groups


def test_nothing_is_arranged_where_nothing_is_asked_for() -> None:
    assert not asked_for(CurriculumTable())
    assert not asked_for(CurriculumTable(skip_flat=True))
    assert asked_for(CurriculumTable(difficulty="self"))
    assert asked_for(CurriculumTable(share=0.5))


def test_cases_without_gold_are_refused(tmp_path: Path) -> None:
    from medgym.cases import write_cases
    from medgym.errors import UserError
    from medgym.train.data.order import GoldCases

    bare: list[Case] = [c.model_copy(update={"answer": "", "regions": ()}) for c in CASES[:2]]
    write_cases([CASES[2], *bare], tmp_path / "some.jsonl")
    with pytest.raises(UserError, match=r"\(line 2 of .*some.jsonl\) .*: the answer is blank; fix"):
        GoldCases(str(tmp_path / "some.jsonl"))
    with pytest.raises(UserError, match="names no case"):
        GoldCases("phantom:train[5:5]")
    many: dict[str, object] = {"answer": "many", "answer_type": "number", "options": ()}
    write_cases([CASES[2], CASES[3].model_copy(update=many)], tmp_path / "some.jsonl")
    with pytest.raises(UserError, match=r"is 'many', and its answer_type is number; fix: "):
        GoldCases(str(tmp_path / "some.jsonl"))


def test_a_policy_that_cannot_measure_is_closed(
    student: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    measuring = load_policy(PRIOR)
    monkeypatch.setattr(measuring, "close", lambda: closed.append(True))
    monkeypatch.setattr("medgym.train.data.curriculum.load_policy", lambda _, **__: measuring)
    monkeypatch.setattr("medgym.train.data.curriculum.measure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(recipe(difficulty=PRIOR), student, tmp_path)
    assert closed == [True]
