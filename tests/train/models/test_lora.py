"""Adapters: what they reach in each family; that they are PEFT's own, saved, followed, merged."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText

from medgym.errors import UserError
from medgym.policy import Policy
from medgym.storage.adapters import content
from medgym.train.models.lora import (
    Following,
    forget_after,
    lora_config,
    only,
    part_of,
    save_adapter,
    targets,
)
from medgym.train.models.merging import merge
from tests.families import FAMILIES, build

ALL = ("language", "vision", "projector")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("parts", [("language",), ("vision",), ("projector",), ALL])
def test_an_adapter_reaches_the_named_parts_alone(family: str, parts: tuple[Any, ...]) -> None:
    model, _ = build(family)
    linear = Counter(
        part_of(name)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    )
    adapted = get_peft_model(model, lora_config(model, {"r": 2}, parts))
    found = Counter(part_of(n) for n, w in adapted.named_parameters() if w.requires_grad)
    assert found.keys() == set(parts)
    for part in parts:  # A and B of each layer; Gemma 3's projector is one bare matrix
        assert found[part] == 2 * (linear[part] or 1)


def test_the_keys_of_peft_go_straight_through() -> None:
    model, _ = build("qwen3-vl")
    config = lora_config(model, {"r": 4, "use_dora": True, "use_rslora": True}, ("language",))
    assert (config.r, config.use_dora, config.use_rslora) == (4, True, True)
    assert config.task_type == "CAUSAL_LM"
    named = lora_config(model, {"target_modules": ["q_proj"]}, ("language",))
    assert named.target_modules == {"q_proj"}


@pytest.mark.parametrize(
    ("lora", "said"),
    [({"layers_to_transform": [0]}, "PEFT refuses"), ({"r": 4, "rank": 3}, "PEFT refuses")],
)
def test_what_peft_refuses_is_one_line(lora: dict[str, Any], said: str) -> None:
    model, _ = build("qwen3-vl")
    with pytest.raises(UserError, match=said) as caught:
        get_peft_model(model, lora_config(model, lora, ("language",)))
    assert "\n" not in str(caught.value)


def test_a_part_without_layers_is_named() -> None:
    with pytest.raises(UserError, match="no layers to adapt in its vision part; fix: leave it"):
        targets(torch_model(), ("vision",))


def torch_model() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1,
        )
    )  # fmt: skip


def test_without_an_adapter_the_named_parts_learn() -> None:
    model, _ = build("internvl")
    only(model, ("projector",))
    learning = {part_of(n) for n, w in model.named_parameters() if w.requires_grad}
    assert learning == {"projector"}


@pytest.fixture(params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any, Path, Path]:
    """A family's adapted model, its processor, its base's folder, its adapter's."""
    model, processor = build(request.param)
    base = tmp_path / "base"
    model.save_pretrained(base)
    processor.save_pretrained(base)
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(0)
    config = lora_config(model, {"r": 2, "init_lora_weights": False}, ("language", "vision"))
    adapted = get_peft_model(model, config).eval()
    run = tmp_path / "run"
    run.mkdir()
    return adapted, processor, base, save_adapter(adapted, run, "policy", 3).path


def logits(model: Any, processor: Any) -> torch.Tensor:
    from PIL import Image

    from medgym.agents.hf.inputs import model_inputs
    from medgym.agents.rendering import Renderer
    from medgym.messages import ImagePart, message

    picture = Image.effect_noise((48, 40), 80).convert("RGB")
    torch.manual_seed(0)
    picture = Image.fromarray(torch.randint(0, 255, (40, 48, 3), dtype=torch.uint8).numpy())
    renderer = Renderer(processor)
    prompt = renderer.prompt([message("user", "What is it?", [ImagePart(0, picture)])])
    with torch.no_grad():
        return model.eval()(**model_inputs(model, renderer, [prompt])).logits


def test_plain_peft_loads_what_is_saved(saved: tuple[Any, Any, Path, Path]) -> None:
    adapted, processor, base, adapter = saved
    plain = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    again = PeftModel.from_pretrained(plain, adapter)
    assert torch.equal(logits(again, processor), logits(adapted, processor))


def test_what_is_merged_says_what_the_adapter_said(
    saved: tuple[Any, Any, Path, Path], tmp_path: Path
) -> None:
    adapted, processor, base, adapter = saved
    out = merge(adapter, tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32)
    assert not hasattr(merged, "peft_config")
    expected = logits(adapted, processor)
    assert torch.allclose(logits(merged, processor), expected, atol=1e-4)
    plain = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    assert not torch.allclose(logits(plain, processor), expected, atol=1e-2)
    assert (out / "processor_config.json").exists() or (out / "preprocessor_config.json").exists()
    run = adapter.parents[2]
    assert merge(run, tmp_path / "of_the_run").is_dir()
    with pytest.raises(UserError, match="exists; fix"):
        merge(adapter, out)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    model, _ = build("qwen3-vl")
    adapted = get_peft_model(model, lora_config(model, {"r": 2}, ("language",)))
    run = tmp_path / "run"
    run.mkdir()
    adapter = save_adapter(adapted, run, "policy", 1).path
    config = json.loads((adapter / "adapter_config.json").read_text())
    for base, said in ((str(tiny_folder), "does not fit"), (None, "does not name its base"),
                       (str(tmp_path / "gone"), "no such model folder")):  # fmt: skip
        config["base_model_name_or_path"] = base
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=said) as caught:
            merge(adapter, tmp_path / "merged")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "merged").exists()
    with pytest.raises(UserError, match="no adapter in"):
        merge(tmp_path, tmp_path / "merged")


class Engine(Policy):
    """A sampler elsewhere: notes what it is asked to load and to forget."""

    spec = "engine"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.loaded: dict[str, str] = {}

    async def act(self, conversation: Any, sampling: Any) -> Any:
        raise AssertionError("nobody plays here")

    def with_adapter(self, name: str, path: Path) -> Policy:
        assert (path / "adapter_model.safetensors").is_file()
        self.said.append(f"+{name}")
        self.loaded[name] = content(path)
        assert len(self.loaded) <= 2, "the recipes ask for ?max_loras=2"
        policy = Engine()
        policy.version = name
        return policy

    def drop_adapter(self, name: str) -> None:
        self.said.append(f"-{name}")
        self.loaded.pop(name, None)


def test_a_sampler_follows_every_so_many_steps(tmp_path: Path) -> None:
    model, _ = build("qwen3-vl")
    adapted = get_peft_model(
        model, lora_config(model, {"r": 2, "init_lora_weights": False}, ("language",))
    )
    engine = Engine()
    following = Following(engine, tmp_path, "policy", every=2)
    versions = [following.player(adapted, step).version for step in range(7)]
    assert versions == ["", "", "policy-2", "policy-2", "policy-4", "policy-4", "policy-6"]
    assert engine.said == ["+policy-2", "+policy-4", "-policy-2", "+policy-6", "-policy-4"]

    # Killed after step 5 with a checkpoint of step 3: what came after is taken again.
    weight = next(w for n, w in adapted.named_parameters() if "lora_B" in n)
    forget_after(tmp_path, "policy", 3, engine)
    assert engine.said[-2:] == ["-policy-4", "-policy-6"]
    with torch.no_grad():
        weight += 1
    again = Following(Engine(), tmp_path, "policy", every=2)
    assert again.player(adapted, 3).version == "policy-2"
    held = (tmp_path / "adapters/policy/2/adapter_model.safetensors").read_bytes()
    assert again.player(adapted, 4).version == "policy-4"
    assert (tmp_path / "adapters/policy/4/adapter_model.safetensors").read_bytes() != held


@pytest.mark.parametrize("name", ["5", "policy"])
def test_a_version_that_is_a_link_is_not_emptied(name: str, tmp_path: Path) -> None:
    for file in ("recipe.toml", "manifest.json"):
        (tmp_path / file).write_text("")
    mine = tmp_path / "mine"
    (mine / "5").mkdir(parents=True)
    (mine / "5" / "precious").write_text("")
    link = tmp_path / "adapters" / "policy"
    if name == "policy":
        link.parent.mkdir()
        link.symlink_to(mine)
        with pytest.raises(UserError, match=r"adapters/policy is a link, .*; fix: "):
            forget_after(tmp_path, "policy", 3)
    else:
        link.mkdir(parents=True)
        (link / name).symlink_to(mine / "5")
        forget_after(tmp_path, "policy", 3)
        assert not list(link.iterdir())
    assert (mine / "5" / "precious").exists()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_sampler_that_is_judged_holds_two_adapters_at_most(tmp_path: Path, every: int) -> None:
    model, _ = build("qwen3-vl")
    adapted = get_peft_model(model, lora_config(model, {"r": 2}, ("language",)))
    engine = Engine()
    following = Following(engine, tmp_path, "policy", every=every)
    for step in range(6):
        following.player(adapted, step)
        with following.judged(adapted, step + 1) as policy:
            assert policy.version.startswith(f"policy-judged-{step + 1}-")
            assert policy.version in engine.loaded
    assert [name for name in engine.loaded if "judged" not in name] == [following.handed_out[1]]


def test_what_a_killed_run_judged_is_not_judged_again(tmp_path: Path) -> None:
    model, _ = build("qwen3-vl")
    adapted = get_peft_model(model, lora_config(model, {"r": 2}, ("language",)))
    with Following(Engine(), tmp_path, "policy").judged(adapted, 4) as policy:
        before = policy.version
    with torch.no_grad():  # the resumed run learned something else up to the same step
        next(w for n, w in adapted.named_parameters() if "lora_B" in n).add_(1)
    with Following(Engine(), tmp_path, "policy").judged(adapted, 4) as policy:
        assert policy.version != before, "a server would answer by what it holds under that name"


def test_a_process_that_fails_while_it_is_judged_waits_for_nobody(tmp_path: Path) -> None:
    model, _ = build("qwen3-vl")
    adapted = get_peft_model(model, lora_config(model, {"r": 2}, ("language",)))
    met: list[str] = []
    following = Following(Engine(), tmp_path, "policy", wait=lambda: met.append("met"))

    def fail() -> None:
        with following.judged(adapted, 1):
            met.clear()
            raise UserError("the endpoint is gone")

    with pytest.raises(UserError):
        fail()
    assert met == []
