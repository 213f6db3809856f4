"""`[model]`: how the base is loaded, what cannot learn, and what an engine cannot play by."""

from typing import Any

import pytest

from medgym.errors import UserError
from medgym.model_options import ModelOptions
from medgym.train.grpo.stage import _check_adapters
from medgym.train.recipe.schema import Recipe, parse_recipe

LORA: dict[str, Any] = {"lora": {"r": 4}}
SHOWN: dict[str, Any] = {"policy": "scripted:oracle", "cases": "phantom:train[:4]"}
GRPO: dict[str, Any] = {"grpo": {"max_steps": 1}}
VLLM, OPENAI = "vllm:{base}?max_loras=2", "openai:http://127.0.0.1:9/v1#base"


def recipe(model: dict[str, Any] | None = None, **tables: Any) -> Recipe:
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    data = {"name": "small", "model": {"path": "base"} | (model or {}), "cases": cases, **tables}
    return parse_recipe(data, "small.toml")


def test_nothing_said_is_the_default_and_changes_no_recorded_recipe() -> None:
    table = recipe().model
    assert table.options == ModelOptions()
    recorded = table.model_dump(exclude_none=True)
    assert recorded == {"path": "base", "gpu": False, "adapt": ("language",)}


def test_the_options_of_a_recipe_are_those_of_the_spec() -> None:
    said = {
        "dtype": "bfloat16", "attn_implementation": "sdpa", "quantization": "8bit",
        "revision": "main", "device": "cpu", "trust_remote_code": True,
    }  # fmt: skip
    options = recipe(said, **LORA, **GRPO).model.options
    assert options == ModelOptions(**said)
    assert options.in_run == ModelOptions(**said | {"revision": ""})
    assert options.whole == ModelOptions(**said | {"quantization": ""})


@pytest.mark.parametrize(
    ("model", "tables", "said"),
    [
        ({"dtype": "bfloat16"}, GRPO, r"16 bits.*; fix: add \[lora\] or remove dtype"),
        ({"dtype": "float16"}, GRPO, r"16 bits.*; fix: add \[lora\] or remove dtype"),
        ({"dtype": "bfloat16"}, LORA | GRPO | {"demonstrations": SHOWN}, r"fix: add \[sft.lora\]"),
        ({"quantization": "4bit"}, GRPO, r"nothing that can learn; fix: add \[lora\] or remove"),
        ({"dtype": "half"}, {}, r"model.dtype"),
        ({"quantization": "2bit"}, {}, r"model.quantization"),
        ({"device": "cuda:1"}, {}, r"model.device"),
        ({"build": "tiny", "path": None, "revision": "v1"}, {}, r"no revision; fix: remove it"),
    ],
)
def test_what_cannot_learn_or_be_is_refused_with_the_recipe(
    model: dict[str, Any], tables: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        recipe(model, **tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tables", [LORA | GRPO, {"demonstrations": SHOWN, "sft": {"lora": {"r": 4}}} | LORA | GRPO, {}]
)
def test_adapters_learn_over_any_base(tables: dict[str, Any]) -> None:
    for model in ({"dtype": "bfloat16"}, {"quantization": "4bit"}):
        assert recipe(model, **tables)


@pytest.mark.parametrize(
    ("policy", "lora", "adapt", "said"),
    [
        (VLLM, {"use_dora": True}, ["language"], r"loads no adapter with \[lora\] use_dora; fix: "),
        (OPENAI, {"use_dora": True}, ["language"], r"loads no adapter with \[lora\] use_dora"),
        (VLLM, {}, ["language", "vision"], "ignore the adapter of the vision; fix: "),
        (OPENAI, {}, ["projector", "vision"], "adapter of the projector and the vision; fix: "),
        (VLLM, {"r": 64}, ["language"], r"up to rank 32, .* asks for 64; fix: \?max_lora_rank=64"),
        (VLLM + "&max_lora_rank=8", {"r": 16}, ["language"], "up to rank 8"),
        (VLLM, {"r": 8, "rank_pattern": {"q_proj": 48}}, ["language"], "asks for 48"),
        (VLLM + "&max_lora_rank=64", {"r": 64, "use_rslora": True}, ["language"], ""),
        (OPENAI, {"r": 256}, ["language"], ""),
        ("hf:{base}", {"r": 256, "use_dora": True}, ["language", "vision"], ""),
    ],
)
def test_an_engine_is_refused_an_adapter_that_it_would_not_load(
    policy: str, lora: dict[str, Any], adapt: list[str], said: str
) -> None:
    """Before anything is trained, and without the engine."""
    asked = recipe({"adapt": adapt}, lora={"r": 4} | lora, rollout={"policy": policy}, **GRPO)
    if not said:
        return _check_adapters(asked, policy)
    with pytest.raises(UserError, match=said) as caught:
        _check_adapters(asked, policy)
    assert "\n" not in str(caught.value)
