"""Engines are examined from outside; with their model at hand, to the last digit."""

from pathlib import Path
from typing import Any

from medgym.agents.hf.policy import HFPolicy
from medgym.commands.shared_options import cases_and_rules
from medgym.policy import Policy, load_policy
from medgym.train.doctor.checks import Check
from medgym.train.doctor.engine import Engine, examine_engine
from medgym.train.models.checkpoint import load_model
from tests.families import blind

SPEC = "phantom,look=radiograph,question=kind:test[:2]"


def examined(policy: Policy, local: Any = None) -> dict[str, Check]:
    cases, rules = cases_and_rules(SPEC, tools=["zoom"], max_turns=2)
    return {check.check: check for check in examine_engine(Engine(policy, cases, rules, local))}


def test_an_engine_that_is_its_model_passes(tiny_folder: Path) -> None:
    found = examined(HFPolicy(*load_model(tiny_folder)), HFPolicy(*load_model(tiny_folder)))
    assert list(found) == ["replies", "images", "agreement", "sight"]
    assert {name: check.verdict for name, check in found.items()} == dict.fromkeys(found, "pass")
    assert found["agreement"].figure["kl"] < 1e-8  # type: ignore[operator]
    assert found["images"].figure["made"] == found["images"].figure["shown"]


def test_an_engine_of_other_weights_is_apart(tiny_folder: Path) -> None:
    model, processor = load_model(tiny_folder)
    for weight in model.parameters():
        weight.data.mul_(2.0)
    found = examined(HFPolicy(model, processor), HFPolicy(*load_model(tiny_folder)))
    assert found["agreement"].verdict == "fail"
    assert examined(HFPolicy(model, processor))["agreement"].fix.startswith("name the folder")


def test_an_engine_whose_features_are_zero_is_blind(tiny_folder: Path) -> None:
    model, processor = load_model(tiny_folder)
    check = examined(HFPolicy(blind(model), processor))["sight"]
    assert check.verdict == "fail"
    assert check.fix.startswith("the engine is blind")


def test_what_only_speaks_can_play_and_not_train() -> None:
    found = examined(load_policy("scripted:random"))
    assert found["replies"].verdict == "warn"
    assert "can play, but not train" in str(found["replies"].figure["why"])
    assert found["images"].verdict == "pass"
