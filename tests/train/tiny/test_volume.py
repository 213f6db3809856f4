"""The base of `tiny-volume`, and a training in two steps of its recipe."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.policy import load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.storage.json_files import read_json
from medgym.tool import load_tools
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import load_recipe
from medgym.train.run.opened import Run
from medgym.train.run.stages import check
from medgym.train.tiny.model import TinyConfig
from medgym.train.tiny.volume import (
    CLOSE,
    SCOUT,
    SLICE,
    VOLUME,
    volume_base,
    volume_glimpses,
)  # fmt: skip
from medgym.train.tiny.volume_dialogues import Scroller, calls_of, slice_call, slice_pieces
from medgym.train.tiny.warmup import coverage
from medgym.trajectory import Trajectory

CASES = "phantom,look=ct-volume,question=kind,size=128,depth=8"
QUICK = replace(
    VOLUME,
    model=TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2),
    cases=f"{CASES}:train[:48]",
    warm_steps=2,
    steps=2,
    batch=4,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        folder = volume_base(QUICK)
        assert volume_base(QUICK) == folder
        yield folder


def imitated(made: Path, count: int = 4, bare: bool = False) -> list[Trajectory]:
    policy = load("policies", "hf")(*load_model(made)).imitating(
        Scroller() if bare else load_policy("scripted:demonstrator,good=1,steps=7")
    )
    tools = load_tools([] if bare else ["slice", "zoom"])
    rules = Rules(tools=tools, max_turns=3, view_size=64)
    return list(collect(open_cases(f"{CASES}:test[:{count}]"), policy, rules, ordered=True))


def test_it_is_a_built_in_model_of_its_own(made: Path) -> None:
    assert made.name.startswith("tiny-volume-")
    assert load("models", "tiny-volume").__module__ == "medgym.train.tiny.volume"


def test_a_dialogue_is_whole_strings(made: Path) -> None:
    _, processor = load_model(made)
    for trajectory in imitated(made):
        counts = [len(node.token_ids) for node in trajectory.branch(len(trajectory.nodes) - 1)]
        prompt, scroll, stack, zoom, close, answer = counts
        assert (scroll, zoom, answer) == (3, 7, 3)
        assert max(prompt, stack, close) <= 32
        for node in trajectory.nodes:
            if node.role == "assistant":
                text = processor.tokenizer.decode(node.token_ids, skip_special_tokens=True)
                assert text.strip() == node.text


def test_a_call_without_tools_is_refused_in_few_tokens_and_then_guessed(made: Path) -> None:
    (trajectory,) = imitated(made, count=1, bare=True)
    assert trajectory.nodes[2].text.startswith("Error: there is no tool 'slice'")
    assert len(trajectory.branch(3)[2].token_ids) <= 10
    assert trajectory.terminated


def test_an_index_is_one_token_with_the_end_of_its_call() -> None:
    head, *ends = slice_pieces(range(12))
    assert [f"{head}{end}" for end in ends] == [slice_call(index) for index in range(12)]


def test_the_vision_is_shown_where_the_lesion_is_in_each_sort_of_view(made: Path) -> None:
    cases, shown = open_cases(f"{CASES}:test[:4]"), imitated(made)
    found = volume_glimpses(cases, shown)
    assert [glimpse.look for glimpse in found] == [SCOUT, SLICE, CLOSE] * 4
    for number, case in enumerate(cases):
        scout, stack, close = found[3 * number : 3 * number + 3]
        rows = coverage(scout, (8, 8)).max(axis=1)
        region = case.regions[0]
        assert region.indices is not None
        lit = [7 - row for row in range(8) if rows[row] > 0]  # the head is up
        assert sorted(lit) == list(range(*region.indices))
        assert coverage(stack, (8, 8)).sum() > 0
        assert (scout.kind, stack.kind) == (None, None)
        assert close.kind is not None
        assert coverage(close, (1, 1)) > coverage(stack, (1, 1))


def test_an_image_beside_the_lesion_shows_none(made: Path) -> None:
    (case,), (trajectory,) = open_cases(f"{CASES}:test[:1]"), imitated(made, count=1)
    region = case.regions[0]
    assert region.indices is not None
    beside = region.indices[1] % 8
    right = next(call["index"] for call in calls_of(trajectory.nodes[1].text))
    nodes = list(trajectory.nodes)
    nodes[1] = replace(
        nodes[1], text=nodes[1].text.replace(f'"index": {right}', f'"index": {beside}')
    )
    views = volume_glimpses([case], [replace(trajectory, nodes=tuple(nodes))])
    assert [coverage(view, (4, 4)).sum() > 0 for view in views] == [True, False, False]


def test_the_recipe_is_whole_and_trains(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = load("recipes", "tiny-volume").read_text("utf-8")
    check(Run(load_recipe("tiny-volume")[0], tmp_path / "unmade"))
    small = text.replace('build = "tiny-volume"', f'path = "{made}"')
    for long, short in (("train[10000:12000]", "train[100:108]"), ("test[:200]", "test[:4]"),
                        ("train[5000:6000]", "train[50:62]"), ("_size = 32", "_size = 4"),
                        ("_size = 64", "_size = 8"), ("generations = 16", "generations = 4"),
                        ("max_steps = 60", "max_steps = 2")):  # fmt: skip
        assert long in small
        small = small.replace(long, short)
    (tmp_path / "small.toml").write_text(small)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "small.toml", "--max-steps", "2", "--out", "run"]) == 0
    results: Any = read_json(tmp_path / "run" / "results.json")
    assert json.dumps(results)
