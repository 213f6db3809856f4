"""What `hf:` loads, with an adapter or without, and what it refuses to."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from medgym.agents.hf.policy import HFPolicy
from medgym.errors import UserError
from medgym.policy import load_policy
from tests.agents.hf.test_policy import forced, played


def adapter_of(model: Any, folder: Path, scale: float = 0.5) -> Path:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|v_proj)")
    adapted = get_peft_model(copy.deepcopy(model), config)
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=scale)
    adapted.save_pretrained(folder)
    return folder


def test_an_adapter_is_loaded_and_makes_a_difference(tiny_folder: Path, tmp_path: Path) -> None:
    policy = load_policy(f"hf:{tiny_folder}")
    assert isinstance(policy, HFPolicy)
    folder = adapter_of(policy.model, tmp_path / "adapter")
    adapted = load_policy(f"hf:{tiny_folder}@{folder}")
    assert isinstance(adapted, HFPolicy)
    assert adapted.spec == f"hf:{tiny_folder}@{folder}"
    trajectories, kept = played(adapted, 1)
    assert trajectories[0].nodes != played(policy, 1)[0][0].nodes
    recorded = [value for node in trajectories[0].nodes for value in node.logprobs]
    assert recorded == pytest.approx(forced(adapted, trajectories[0], kept[0], 1.0), abs=1e-4)
    nothing = adapter_of(policy.model, tmp_path / "nothing", scale=0.0)
    zero, _ = played(load_policy(f"hf:{tiny_folder}@{nothing}"), 1)
    assert zero[0].nodes == played(policy, 1)[0][0].nodes


@pytest.mark.parametrize("sizes", [{"hidden": 64}, {"text_layers": 1}, {"text_layers": 3}])
def test_an_adapter_of_another_base_is_refused(
    tiny_folder: Path, tiny_processor: Any, tmp_path: Path, sizes: dict[str, int]
) -> None:
    from medgym.train.tiny.model import TinyConfig, build_model

    config = TinyConfig(**{"hidden": 32, "text_layers": 2, "vision_layers": 1, "heads": 2, **sizes})
    other = build_model(config, tiny_processor.tokenizer, seed=0)
    folder = adapter_of(other, tmp_path / "adapter")
    with pytest.raises(UserError, match=r"does not fit the (model|base).*fix") as error:
        load_policy(f"hf:{tiny_folder}@{folder}")
    assert "\n" not in str(error.value)


def test_what_cannot_be_loaded_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    lost = shutil.copytree(tiny_folder, tmp_path / "lost")
    (lost / "model.safetensors").unlink()
    mute = shutil.copytree(tiny_folder, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    garbled = shutil.copytree(tiny_folder, tmp_path / "garbled")
    (garbled / "config.json").write_text("{")
    (tmp_path / "empty").mkdir()
    for spec, said in {
        f"hf:{tmp_path / 'none'}": "no such model folder",
        "hf:~/no-such-model": "no such model folder",
        f"hf:{tmp_path / 'me'}@corp/base": r"no such model .*me; fix: .*, or write \?adapter=",
        f"hf:{tiny_folder}?size=3": "unknown option of hf 'size'",
        f"hf:{tiny_folder}?dtype=bfloat17": "dtype='bfloat17' is not known; fix: one of",
        f"hf:{tmp_path / 'empty'}": "cannot load the model",
        f"hf:{damaged}": "cannot load the model",
        f"hf:{lost}": "cannot load the model",
        f"hf:{garbled}": "cannot load the model",
        f"hf:{mute}": "no chat template",
        f"hf:{tiny_folder}@{tmp_path / 'none'}": "no adapter in",
        f"hf:{tiny_folder}@{tmp_path / 'empty'}": "no adapter in",
    }.items():
        with pytest.raises(UserError, match=said) as error:
            load_policy(spec)
        assert "fix: " in str(error.value) or "known: " in str(error.value)
        assert "\n" not in str(error.value)


def test_the_form_of_tools_is_an_option(tiny_folder: Path) -> None:
    policy = load_policy(f"hf:{tiny_folder}?tool_form=native")
    assert isinstance(policy, HFPolicy)
    trajectories, kept = played(policy, 1)
    prompt = policy.renderer.tokenizer.decode(trajectories[0].nodes[0].token_ids)
    assert "within <tools></tools> XML tags" in prompt
    recorded = [value for node in trajectories[0].nodes for value in node.logprobs]
    assert recorded == pytest.approx(forced(policy, trajectories[0], kept[0], 1.0), abs=1e-4)
    with pytest.raises(UserError, match="tool_form of hf"):
        load_policy(f"hf:{tiny_folder}?tool_form=hermes")
