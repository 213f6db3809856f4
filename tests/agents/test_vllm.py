"""`vllm:` without its library: what a spec says wrong is found before the engine is needed, and
what an engine is asked for."""

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from medgym.agents.vllm import VLLMPolicy
from medgym.errors import UserError
from medgym.policy import load_policy


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("vllm:/none?max_lora=3", "unknown option of vllm 'max_lora'; did you mean 'max_loras'?"),
        ("vllm:/none?max_loras=few", "vllm: max_loras='few' is not a whole number; fix: write one"),
        ("vllm:/none", "no such model folder: /none; fix: check the path"),
        (
            "vllm:/me@corp/base",
            "no such model folder: /me; fix: check the path, or write ?adapter= where the @ "
            "belongs to it",
        ),
    ],
)
def test_a_wrong_spec_is_one_line(spec: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_policy(spec)
    assert str(caught.value) == said


class Engine:
    """Stands in for vLLM's engine alone: notes what it is asked for, and in which environment."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.environment = dict(os.environ)
        self.called: list[Any] = []

    async def sleep(self, level: int) -> None:
        self.called.append(("sleep", level))

    async def wake_up(self) -> None:
        self.called.append("wake_up")

    async def add_lora(self, request: Any) -> None:
        self.called.append(("add_lora", request.lora_int_id))

    async def remove_lora(self, number: int) -> None:
        self.called.append(("remove_lora", number))

    def shutdown(self, timeout: float) -> None:
        self.called.append("shutdown")


class Platform:
    """A GPU's, for vLLM."""

    cpu = False

    def is_cpu(self) -> bool:
        return self.cpu

    def is_sleep_mode_available(self) -> bool:
        return not self.cpu


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A stand-in for the package `vllm`, which is not installed here."""
    found = Platform()
    made: dict[str, dict[str, Any]] = {
        "vllm": {"AsyncEngineArgs": lambda **asked: asked},
        "vllm.platforms": {"current_platform": found},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": SimpleNamespace(from_engine_args=Engine)},
        "vllm.lora": {},
        "vllm.lora.request": {
            "LoRARequest": lambda name, number, path: SimpleNamespace(
                lora_int_id=number, lora_path=path
            )
        },
    }
    for name, content in made.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return found


def as_fourth_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that `torchrun` sets."""
    for name, value in {
        "RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8",
        "GROUP_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500",
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "none",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("visible", [None, "8,9,10,11,12,13,14,15"])
def test_each_process_has_an_engine_on_its_own_device(
    visible: str | None, platform: Platform, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_fourth_of_eight(monkeypatch)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    before = dict(os.environ)
    policy: Any = load_policy(f"vllm:{tiny_folder}?max_loras=2&gpu_memory_utilization=0.4")
    engine = policy._engine
    assert engine.asked["device_ids"] == [3], "vLLM counts among the visible ones"
    assert engine.environment.get("CUDA_VISIBLE_DEVICES") == visible
    assert engine.asked["gpu_memory_utilization"] == 0.4
    hidden = before.keys() - engine.environment.keys()
    assert {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} < hidden
    assert "TORCHELASTIC_USE_AGENT_STORE" in hidden, "with it, an engine waits for the launcher"
    assert os.environ == before, "this process still belongs to the others"
    policy.close()


def test_a_process_by_itself_names_no_device(platform: Platform, tiny_folder: Path) -> None:
    policy: Any = load_policy(f"vllm:{tiny_folder}?tensor_parallel_size=2")
    assert "device_ids" not in policy._engine.asked
    assert policy._engine.asked["tensor_parallel_size"] == 2
    policy.close()


def test_several_devices_for_each_of_several_processes_are_refused(
    platform: Platform, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_fourth_of_eight(monkeypatch)
    with pytest.raises(UserError, match="has one device, and tensor_parallel_size is 2; fix: "):
        load_policy(f"vllm:{tiny_folder}?tensor_parallel_size=2")


def test_an_engine_sleeps_while_nothing_is_asked_of_it(
    platform: Platform, tiny_folder: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    from medgym.train.models.checkpoint import load_model

    model, _ = load_model(tiny_folder)
    adapted: Any = get_peft_model(model, LoraConfig(r=2, target_modules=".*language_model.*q_proj"))
    adapted.save_pretrained(tmp_path / "adapters" / "policy" / "1")
    policy: Any = load_policy(f"vllm:{tiny_folder}?max_loras=2")
    engine = policy._engine
    assert engine.asked["enable_sleep_mode"] is True
    policy.resume()
    assert engine.called == [], "it is awake already"
    policy.pause()
    other = policy.with_adapter("policy-1", tmp_path / "adapters" / "policy" / "1")
    assert engine.called == [("sleep", 1), "wake_up", ("add_lora", 1)], "a sleeper loads nothing"
    other.pause()
    policy.pause()
    other.resume()
    policy.resume()
    assert engine.called[3:] == [("sleep", 1), "wake_up"], "policies of one engine sleep together"
    policy.pause()
    policy.drop_adapter("policy-1")
    assert engine.called[5:] == [("sleep", 1), "wake_up", ("remove_lora", 1)]
    policy.close()


def test_an_engine_that_wakes_finds_the_memory_free(
    platform: Platform, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy: Any = load_policy(f"vllm:{tiny_folder}?max_loras=2")
    called = policy._engine.called
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: called.append("empty_cache"))
    policy.pause()
    policy.resume()
    assert called == [("sleep", 1), "empty_cache", "wake_up"], "torch keeps what it does not use"
    policy.close()


@pytest.mark.parametrize("spec", ["?max_loras=2&enable_sleep_mode=false", ""])
def test_an_engine_that_need_not_sleep_stays_awake(
    spec: str, platform: Platform, tiny_folder: Path
) -> None:
    policy: Any = load_policy(f"vllm:{tiny_folder}{spec}")
    assert not policy._engine.asked.get("enable_sleep_mode")
    policy.pause()
    assert policy._engine.called == []
    policy.close()


def test_on_a_cpu_there_is_no_sleep_and_no_device(
    platform: Platform, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_fourth_of_eight(monkeypatch)
    platform.cpu = True
    policy: Any = load_policy(f"vllm:{tiny_folder}?max_loras=2")
    assert not {"device_ids", "enable_sleep_mode"} & policy._engine.asked.keys()
    policy.pause()
    assert policy._engine.called == []
    policy.close()


def test_the_form_of_tools_is_checked_before_an_engine_is_there(
    tiny_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    VLLMPolicy.check_spec(f"{tiny_folder}?tool_form=native&max_model_len=64", None)
    VLLMPolicy.check_lora(f"{tiny_folder}?tool_form=native&max_loras=2", {"r": 2}, ["language"])
    with pytest.raises(UserError, match="tool_form of vllm"):
        VLLMPolicy.check_spec(f"{tiny_folder}?tool_form=nativ", None)
    from trl.chat_template_utils import qwen2_5_vl_chat_template

    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(qwen2_5_vl_chat_template)
    with pytest.raises(UserError, match="has no place for tools"):
        VLLMPolicy.check_spec(f"{tmp_path / 'model'}?tool_form=native", None)


@pytest.mark.parametrize("spec", ["base", "base?max_loras=1", "base?max_model_len=64"])
def test_an_engine_that_takes_no_second_adapter_is_refused_before_the_cold_start(spec: str) -> None:
    with pytest.raises(UserError, match=r"no place for two adapters, .*fix: \?max_loras=2"):
        VLLMPolicy.check_lora(spec, {"r": 2}, ["language"])
