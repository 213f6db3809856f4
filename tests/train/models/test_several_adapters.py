"""Several adapters over one base, as the roles of a consultation share it: one learns, any plays,
and neither changes another or the base."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medgym.messages import message
from medgym.policy import Sampling, load_policy
from medgym.train.models.checkpoint import load_model
from tests.agents.hf.test_loading import adapter_of

SAMPLING = Sampling(max_tokens=6, seed=3)


def said(policy: Any) -> tuple[Any, Any]:
    reply = asyncio.run(policy.act([message("user", "What is it?", [])], SAMPLING))
    return reply.token_ids, reply.logprobs


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.fixture
def rival(tiny_folder: Path, tmp_path: Path) -> Path:
    return adapter_of(load_model(tiny_folder)[0], tmp_path / "rival")


def test_what_learns_changes_neither_the_base_nor_another_adapter(
    make_trainer: Callable[..., Any], uneven: Any, tiny_folder: Path, rival: Path
) -> None:
    alone = said(load_policy(f"hf:{tiny_folder}@{rival}"))
    base = said(load_policy(f"hf:{tiny_folder}"))
    trainer = make_trainer(rules=uneven, beta=0.1)
    other = trainer.local.with_adapter("rival", rival)
    before = weights(trainer.model)
    assert said(other) == alone, "it plays by its own adapter beside the one in training"
    assert said(trainer.local) == base, "which has learned nothing yet"
    assert trainer.model.active_adapters == ["default"]
    trainer.train()
    assert trainer.model.active_adapters == ["default"]
    after = weights(trainer.model)
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed
    assert all(".default." in name for name in changed)
    learning = {n for n, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert all(".default." in name for name in learning)
    first = next(row for row in trainer.state.log_history if "kl" in row)
    assert first["kl"] == 0, "the reference is the base, without any adapter"
    assert said(other) == alone
    assert said(trainer.local) != base
    with trainer.model.disable_adapter():
        assert said(trainer.local) == base


def test_a_version_that_comes_or_goes_changes_no_other(
    tiny_folder: Path, tmp_path: Path, rival: Path
) -> None:
    shared: Any = load_policy(f"hf:{tiny_folder}")
    base = said(shared)
    one = shared.with_adapter("one", rival)
    first = said(one)
    assert first != base
    config = json.loads((rival / "adapter_config.json").read_text())
    assert config["init_lora_weights"] is True, "others would change the base under the first"
    again = adapter_of(load_model(tiny_folder)[0], tmp_path / "again", scale=1.0)
    two = shared.with_adapter("two", again)
    assert said(two) not in (first, base)
    assert (said(one), said(shared)) == (first, base)
    shared.drop_adapter("two")
    assert (said(one), said(shared)) == (first, base)
