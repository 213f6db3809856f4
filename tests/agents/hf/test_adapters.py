"""Several adapters over one transformers model: each answers as the model that it was made for."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image

from medgym.agents.hf.policy import HFPolicy
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import ImagePart, message
from medgym.policy import Sampling, load_policy
from medgym.rollout import roll_out
from medgym.storage.adapters import Samplers, publish
from medgym.tool import load_tools
from medgym.trajectory import Trajectory, validate

QUESTION = (message("user", "What?", [ImagePart(0, Image.new("RGB", (32, 32), "red"))]),)
MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(tiny_folder: Path, tmp_path: Path) -> MakeAdapter:
    """Writes an adapter of random weights for the tiny model."""

    def make(seed: int, **config: Any) -> Path:
        model = load_policy(f"hf:{tiny_folder}").model  # type: ignore[attr-defined]
        torch.manual_seed(seed)
        targets = config.pop("target_modules", ["q_proj", "v_proj"])
        lora = LoraConfig(r=4, lora_alpha=64, target_modules=targets, init_lora_weights=False)
        get_peft_model(model, lora).save_pretrained(tmp_path / f"lora{seed}")
        return tmp_path / f"lora{seed}"

    return make


def open_policy(spec: str) -> HFPolicy:
    policy = load_policy(spec)
    assert isinstance(policy, HFPolicy)
    return policy


def ask(policy: Any, seed: int = 0) -> Any:
    return asyncio.run(policy.act(QUESTION, Sampling(max_tokens=6, seed=seed)))


def test_adapters_play_side_by_side_as_their_own_models(
    tiny_folder: Path, make_adapter: MakeAdapter
) -> None:
    paths = [make_adapter(1), make_adapter(2)]
    base = open_policy(f"hf:{tiny_folder}")
    players = [base, *(base.with_adapter(f"role-{i}", path) for i, path in enumerate(paths))]

    async def ask_all() -> list[Any]:
        asked = (p.act(QUESTION, Sampling(max_tokens=6, seed=s)) for s in range(4) for p in players)
        return list(await asyncio.gather(*asked))

    together = asyncio.run(ask_all())
    assert [player.version for player in players] == ["", "role-0", "role-1"]
    for number, spec in enumerate((f"hf:{tiny_folder}", *(f"hf:{tiny_folder}@{p}" for p in paths))):
        alone = open_policy(spec)
        for seed in range(4):
            reply, expected = together[3 * seed + number], ask(alone, seed)
            assert reply.token_ids == expected.token_ids
            assert reply.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert len({reply.logprobs for reply in together[:3]}) == 3


def test_trajectories_record_the_version_that_played(
    tiny_folder: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """Two roles side by side over one base, in one batch after the other."""
    base = open_policy(f"hf:{tiny_folder}")
    roles = ("triage", "attending")
    versions = [
        publish(make_adapter(number), tmp_path / "run", role, 4)
        for number, role in enumerate(roles)
    ]
    players = [base, *(Samplers([base]).load(version)[0] for version in versions)]
    rules = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
    cases = open_cases("phantom:train[:2]")

    async def side_by_side() -> list[Trajectory]:
        sampling = Sampling(max_tokens=8)
        played = (roll_out(c, p, rules, sampling=sampling) for p in players for c in cases)
        return list(await asyncio.gather(*played))

    played = asyncio.run(side_by_side())
    for trajectory in played:
        validate(trajectory)
    assert [t.version for t in played[::2]] == ["", "triage-4", "attending-4"]
    for alone in (f"hf:{tiny_folder}", *(f"hf:{tiny_folder}@{v.path}" for v in versions)):
        policy = open_policy(alone)
        mine = [t for t in played if t.version == policy.version]
        ids = [[node.token_ids for node in t.nodes] for t in mine]
        again = (roll_out(c, policy, rules, sampling=Sampling(max_tokens=8)) for c in cases)
        assert ids == [[n.token_ids for n in asyncio.run(each).nodes] for each in again]


def test_a_trainer_finds_its_own_adapter_as_it_was(
    tiny_folder: Path, make_adapter: MakeAdapter
) -> None:
    base = open_policy(f"hf:{tiny_folder}")
    model = get_peft_model(base.model, LoraConfig(r=2, target_modules=["q_proj"]))
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    policy = HFPolicy(model, base.renderer.processor)
    before = ask(policy)
    other = policy.with_adapter("role-1", make_adapter(1))
    assert ask(other).logprobs != before.logprobs
    assert ask(policy).logprobs == before.logprobs
    assert policy.model is model
    assert model.active_adapter == "default"
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trained


def test_samplers_follow_what_is_published(
    tiny_folder: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    base = open_policy(f"hf:{tiny_folder}")
    samplers = Samplers([base], keep=2)
    adapter = make_adapter(1)
    for step in (1, 2, 3):
        (player,) = samplers.load(publish(adapter, tmp_path / "run", "triage", step))
    assert isinstance(base.model, PeftModel)
    assert sorted(base.model.peft_config) == ["triage-2", "triage-3"]
    assert player.version == "triage-3"
    assert player.spec == f"hf:{tiny_folder}@{tmp_path}/run/adapters/triage/3"
    assert open_policy(player.spec).version == "triage-3"
    assert ask(player).token_ids == ask(open_policy(player.spec)).token_ids


def test_an_adapter_of_another_base_changes_nothing(
    tiny_folder: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    base = open_policy(f"hf:{tiny_folder}")
    before = ask(base)
    adapter = make_adapter(1)
    weights = load_file(adapter / "adapter_model.safetensors")
    for change in ("layers.0", "shape", "lora_A"):
        if change == "shape":
            wrong = {k: torch.zeros(2 * v.shape[0], 2 * v.shape[1]) for k, v in weights.items()}
        else:
            wrong = {k.replace(change, "layers.9"): v for k, v in weights.items()}
        save_file(wrong, adapter / "adapter_model.safetensors")
        with pytest.raises(UserError, match=r"does not fit the model.*; fix: ") as caught:
            base.with_adapter("role-1", adapter)
        assert "\n" not in str(caught.value)
        assert ask(base) == before
    with pytest.raises(UserError, match="no adapter in"):
        base.with_adapter("role-1", tmp_path / "nowhere")
    save_file(weights, adapter / "adapter_model.safetensors")
    base.with_adapter("role-1", adapter)
    with pytest.raises(UserError, match="role-1 is another adapter"):
        base.with_adapter("role-1", tmp_path)
