"""Several sources are mixed by weights: exactly, lazily, and the same from the same seed."""

import json
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import Case, open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.sources.phantom import source as phantoms
from medgym.train.data.mixture import MixedCases, deal, training_cases, training_order
from medgym.train.recipe.schema import CasesTable, load_recipe, parse_recipe
from medgym.train.run.opened import Run
from medgym.train.run.stages import check

KIND = "phantom,look=radiograph,question=kind"
SIDE = "phantom,look=radiograph,question=side"


def mixture(*parts: tuple[str, float], order: str = "shuffled") -> CasesTable:
    names = {KIND: "kind", SIDE: "side"}
    train = [
        {"spec": spec, "weight": weight, "name": names.get(spec.partition(":")[0], spec)}
        for spec, weight in parts
    ]
    return CasesTable.model_validate({"train": train, "test": f"{KIND}:test[:4]", "order": order})


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (0.2, 0.5, 0.3), (5, 1, 1, 1), (1,), (7, 3)])
def test_each_source_has_its_share_at_any_time(weights: tuple[float, ...]) -> None:
    had = Counter[int]()
    for count, number in enumerate(islice(deal(weights), 2000), start=1):
        had[number] += 1
        for source, weight in enumerate(weights):
            assert abs(had[source] - count * weight / sum(weights)) < 1


def test_a_mixture_ends_where_a_source_has_none_left() -> None:
    table = mixture((f"{KIND}:train[:300]", 3), (f"{SIDE}:train[1000:1040]", 1))
    cases = training_cases(table)
    order = training_order(cases, "shuffled", 0)
    assert len(cases) == 340
    assert len(order) == 40 * 4 + 1 or len(order) == 40 * 4 + 2
    sides = ["-side-" in case.id for case in order]
    assert sum(sides) == 40
    for start in range(0, 160, 4):  # a step of four groups
        assert sum(sides[start : start + 4]) == 1
    assert len({case.id for case in order}) == len(order)
    assert isinstance(cases, MixedCases)
    said = cases.describe(len(order))
    assert "75 % kind (of 300), 25 % side (of 40); then from its start again" in said


def test_the_seed_fixes_the_mixture_and_each_source_has_an_order_of_its_own() -> None:
    table = mixture((f"{KIND}:train[:60]", 1), (f"{KIND}:train[100:160]", 1))
    orders = [
        [case.id for case in training_order(training_cases(table), "shuffled", seed)]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    places = [[int(name.rpartition("-")[2]) // 2 for name in orders[0][n::2]] for n in (0, 1)]
    assert places[0] != [place - 100 for place in places[1]]


def test_balanced_holds_within_each_source() -> None:
    table = mixture((f"{KIND}:train[:200]", 1), (f"{SIDE}:train[1000:1200]", 1), order="balanced")
    dealt = list(training_order(training_cases(table), "balanced", 0))
    for name in ("-kind-", "-side-"):
        own = [case.answer for case in dealt if name in case.id]
        answers = set(own)
        for start in range(0, len(own) - len(answers) + 1, len(answers)):
            assert set(own[start : start + len(answers)]) == answers


def test_no_case_is_made_for_the_order_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    case_of = phantoms.case_of

    def counted(plan: Any, question: str) -> Case:
        case = case_of(plan, question)
        made.append(case.id)
        return case

    monkeypatch.setattr(phantoms, "case_of", counted)
    table = mixture((f"{KIND}:train[:50000]", 1), (f"{SIDE}:train[60000:110000]", 1))
    cases = training_cases(table)
    order = training_order(cases, "shuffled", 0)
    assert not made
    for _ in range(2):
        for place in range(10):
            case = order[place]
            assert cases.source_of(case) == case.id.split("-")[2]  # type: ignore[attr-defined]
    assert len(made) == 10


def test_one_spec_is_what_it_was() -> None:
    recipe = load_recipe("tiny")[0]
    assert recipe.model_dump()["cases"]["train"] == recipe.cases.train
    assert not isinstance(training_cases(recipe.cases), MixedCases)


def recipe_of(tmp_path: Path, train: Any, **tables: Any) -> Run:
    data: dict[str, Any] = {
        "name": "mixed",
        "model": {"build": "tiny"},
        "cases": {"train": train, "test": f"{KIND}:test[:4]"},
        "grpo": {"max_steps": 1, "report_to": ["none"]},
    }
    return Run(parse_recipe(data | tables, "mixed.toml"), tmp_path / "run")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ([], "cases.train names no cases; fix: name some"),
        ([{"spec": f"{KIND}:train[:4]"}] * 2, "are called 'phantom'; fix: give each a name"),
        (
            [{"spec": f"{KIND}:train[:4]", "wieght": 1}],
            "unknown key in mixed.toml: 'cases.train.0.wieght'; did you mean 'cases.train.0.we",
        ),
        ([{"spec": f"{KIND}:train[:4]", "weight": 0}], "cases.train.0.weight: Input should be gr"),
        (
            [{"spec": f"{KIND}:train[:4]"}, {"spec": f"{KIND}:train[3:9]", "name": "more"}],
            "1 cases of [cases] train are both in phantom,look=radiograph,question=kind:train[:4]",
        ),
        (
            [{"spec": f"{KIND}:train[:4]"}, {"spec": f"{KIND}:test[3:9]", "name": "more"}],
            "[cases] test shares 1 of its 4 cases with [cases] train (the first is phantom/test/",
        ),
        (
            [{"spec": f"{KIND}:train[:4]"}, {"spec": "phantom,size=1792:train[:4]", "name": "b"}],
            "are not shown at one view size; fix: set [rollout] view_size",
        ),
        (None, "mixed: [cases] has no train; fix: name the cases that are trained on"),
    ],
)
def test_what_is_wrong_with_a_mixture_is_one_line(train: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        check(recipe_of(tmp_path, train))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_without_grpo_no_cases_of_training_are_needed(tmp_path: Path) -> None:
    shown = {"policy": "scripted:oracle", "cases": f"{KIND}:train[:4]"}
    run = recipe_of(tmp_path, None, demonstrations=shown, sft={"max_steps": 1}, grpo={})
    run.recipe.model_fields_set.discard("grpo")
    check(run)


RECIPE = """
[model]
path = "{path}"
[cases]
test = "phantom,look=radiograph,question=kind:test[:2]"
[[cases.train]]
spec = "phantom,look=radiograph,question=kind:train[:16]"
weight = 1
name = "kind"
[[cases.train]]
spec = "{own}"
weight = 3
[rollout]
max_turns = 1
max_tokens = 3
view_size = 64
[lora]
r = 2
target_modules = ["q_proj"]
[sight]
every = 0
[grpo]
max_steps = 2
per_device_train_batch_size = 8
num_generations = 2
beta = 0.0
report_to = ["none"]
"""


def test_a_run_of_two_sources_logs_figures_of_each(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(open_cases(f"{SIDE}:train[100:120]"), tmp_path / "sides.jsonl")
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(RECIPE.format(path=tiny_folder, own=tmp_path / "sides.jsonl"))
    folder = tmp_path / "run"
    assert main(["train", str(recipe), "--out", str(folder)]) == 0
    said = capsys.readouterr().err
    assert "cases: a mixture of 27, 25 % kind (of 16), 75 % sides (of 20); then from its" in said
    assert "GRPO: 2 steps of 8 episodes, on 8 of 27 cases" in said
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        shares = (row["accuracy/kind"] + 3 * row["accuracy/sides"]) / 4
        assert shares == pytest.approx(row["accuracy"])
    from medgym.storage.trajectories import TrajectoryStore

    played = [t.case_id for t in TrajectoryStore(folder / "trajectories" / "grpo")]
    steps = [played[:8], played[8:]]
    assert [sum("-side-" in name for name in step) for step in steps] == [6, 6]
    assert all(one != other for one, other in pairwise(played[::2]))
