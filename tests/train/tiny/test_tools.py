"""The base of `tiny-tools`, and a training in two steps of its recipe."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.cli import main
from medgym.policy import load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.sources.phantom.rules import SHARES, rules_of
from medgym.storage.json_files import read_json
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import load_recipe
from medgym.train.run.opened import Run
from medgym.train.run.stages import check
from medgym.train.tiny.model import TinyConfig
from medgym.train.tiny.tokenizer import build_tokenizer
from medgym.train.tiny.tool_dialogues import (
    Insistent,
    looking,
    measure_call,
    measure_pieces,
    retrieve_call,
    retrieve_pieces,
)
from medgym.train.tiny.tools import TOOLS, tools_base

CASES = "phantom,look=radiograph,size=256,question=kind+length+stage"
MEASURED = "phantom,look=radiograph,size=256,question=length:train[:12]"
QUICK = replace(
    TOOLS,
    model=TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2),
    cases=f"{CASES}:train[:48]",
    warm_steps=2,
    steps=2,
    batch=4,
    refused=0.2,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        folder = tools_base(QUICK, MEASURED)
        assert tools_base(QUICK, MEASURED) == folder
        yield folder


def test_it_is_a_built_in_model_of_its_own(made: Path) -> None:
    assert made.name.startswith("tiny-tools-")
    assert load("models", "tiny-tools").__module__ == "medgym.train.tiny.tools"


def test_a_dialogue_is_whole_strings(made: Path) -> None:
    model, processor = load_model(made)
    player = load("policies", "hf")(model, processor)
    armed, _, bare, refused = looking(open_cases(f"{CASES}:test[:9]"), [], 64, 1.0, 1.0)
    lengths: dict[str, Counter[int]] = {}
    shown = load_policy("scripted:chooser")
    for cases, policy, rules in (
        (armed.cases, shown, armed.rules),
        (bare.cases, Insistent(), refused.rules),
    ):
        for trajectory in collect(cases, player.imitating(policy), rules, ordered=True):
            question = trajectory.case_id.split("-")[-2]
            nodes = trajectory.branch(len(trajectory.nodes) - 1)
            assert trajectory.terminated
            assert max(len(node.token_ids) for node in nodes) <= 34
            lengths.setdefault(question, Counter())[len(nodes[1].token_ids)] += 1
            for node in nodes:
                if node.role == "assistant":
                    text = processor.tokenizer.decode(node.token_ids, skip_special_tokens=True)
                    assert text.strip() == node.text
    assert lengths == {"kind": {7: 6}, "length": {7: 6}, "stage": {5: 6}}


def test_a_rule_is_two_tokens_that_are_the_same_everywhere() -> None:
    tokenizer = build_tokenizer(retrieve_pieces())
    for rule in (rule for split in SHARES for rule in rules_of(split)):
        words = tokenizer.tokenize(retrieve_call(*rule.words))[1:3]
        said = tokenizer.tokenize(f"[1] Rule {rule.name}: every lesion is of {rule.stage}.")
        assert said[1:3] == words
        assert len(said) == 4
        assert len(tokenizer.tokenize(retrieve_call(*rule.words))) == 4


def test_a_length_under_100_mm_is_two_tokens() -> None:
    tokenizer = build_tokenizer(measure_pieces())
    assert len(tokenizer.tokenize(measure_call([[31, 500], [938, 500]]))) == 6
    for tenths in range(1000):
        assert len(tokenizer.tokenize(f"Length {tenths / 10:.1f} mm.")) == 2
    long = tokenizer.tokenize("Length 129.1 mm.")
    assert tokenizer.convert_tokens_to_string(long[:1]) == "Length 1"


def test_the_recipe_is_whole_and_trains(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = load("recipes", "tiny-tools").read_text("utf-8")
    check(Run(load_recipe("tiny-tools")[0], tmp_path / "unmade"))
    small = text.replace('build = "tiny-tools"', f'path = "{made}"')
    small = small.replace("look=radiograph", "look=radiograph,size=256")
    for long, short in (("train[12000:18000]", "train[300:324]"), ("test[:200]", "test[:6]"),
                        ("train[8000:10000]", "train[150:162]"), ("_size = 32", "_size = 4"),
                        ("_size = 96", "_size = 8"), ("generations = 16", "generations = 4"),
                        ("max_steps = 90", "max_steps = 2")):  # fmt: skip
        assert long in small
        small = small.replace(long, short)
    (tmp_path / "small.toml").write_text(small)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "small.toml", "--max-steps", "2", "--out", "run"]) == 0
    assert (tmp_path / "run" / "report.png").exists()
    policies = read_json(tmp_path / "run" / "results.json")["policies"]
    assert policies["oracle"]["sampled"]["accuracy"]["value"] == 1.0
    printed = capsys.readouterr().out
    for tool in ("zoom", "measure", "retrieve"):
        used = policies["oracle"]["sampled"]["metrics"][f"used, where needed: {tool}"]
        assert used["value"] == 1.0
        assert f"used {tool}" in printed
