"""An adapter's sum with its base is made in float32: nothing vanishes but by the one cast."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from medgym.errors import RunError
from medgym.train.models.lora import lora_config, save_adapter
from medgym.train.models.merging import base_of, merge, merged, merged_into
from tests.families import FAMILIES, build

ALL = ("language", "vision", "projector")


def small_adapter(model: Any, scale: float = 0.01, **lora: Any) -> PeftModel:
    """An adapter whose entries are far smaller than the weights of its base."""
    config = lora_config(model, {"r": 4} | lora, ALL)
    adapted = get_peft_model(model, config)
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            torch.nn.init.normal_(weight, std=scale)
    return adapted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sum_in_16_bits_is_the_cast_of_the_sum_in_32(family: str) -> None:
    exact = merged(small_adapter(build(family)[0].bfloat16().float()))
    whole = merged(small_adapter(build(family)[0].bfloat16()))
    assert whole.dtype == torch.bfloat16
    assert not hasattr(whole, "peft_config")
    wanted = dict(exact.named_parameters())
    for name, weight in whole.named_parameters():
        assert torch.equal(weight, wanted[name].bfloat16()), name


@pytest.mark.parametrize(("scale", "loses"), [(0.01, True), (0.1, False)])
def test_what_the_cast_loses_is_said(
    scale: float, loses: bool, caplog: pytest.LogCaptureFixture
) -> None:
    merged(small_adapter(build("qwen3-vl")[0], scale))
    assert not caplog.messages
    merged(small_adapter(build("qwen3-vl")[0].bfloat16(), scale))
    said = "loses 1[0-9] % of what the adapter adds" if loses else "^$"
    assert re.search(said, "".join(caplog.messages))


def test_the_magnitudes_of_dora_are_merged_alike() -> None:
    exact = merged(small_adapter(build("qwen3-vl")[0].bfloat16().float(), use_dora=True))
    whole = merged(small_adapter(build("qwen3-vl")[0].bfloat16(), use_dora=True))
    wanted = dict(exact.named_parameters())
    for name, weight in whole.named_parameters():
        assert torch.allclose(weight.float(), wanted[name], rtol=2**-7, atol=1e-6), name


def test_an_adapter_that_is_no_number_is_not_merged() -> None:
    adapted = small_adapter(build("qwen3-vl")[0])
    weight = next(w for n, w in adapted.named_parameters() if "lora_B" in n)
    weight.data[0, 0] = torch.nan
    with pytest.raises(RunError, match=r"cannot be merged \(.*NaN.*; fix: "):
        merged(adapted)


def test_an_adapter_is_merged_into_another_copy_of_its_base() -> None:
    """As after training over a quantized base, whose unquantized copy takes the adapter."""
    adapted = small_adapter(build("qwen3-vl")[0])
    whole = merged_into(build("qwen3-vl")[0], adapted)
    wanted = dict(merged(adapted).named_parameters())
    assert all(torch.equal(weight, wanted[name]) for name, weight in whole.named_parameters())


def test_merging_loads_the_base_as_its_run_did(tmp_path: Path) -> None:
    from medgym.storage.run_folder import RunFolder

    model, processor = build("qwen3-vl")
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    table = {"path": "base", "dtype": "bfloat16", "quantization": "4bit", "revision": "v1"}
    recipe = {"name": "small", "model": table, "cases": cases, "lora": {"r": 4}}
    run = RunFolder.create(tmp_path / "run", "", recipe=recipe).path
    model.bfloat16().save_pretrained(run / "cold_start")
    processor.save_pretrained(run / "cold_start")
    adapter = save_adapter(small_adapter(model), run, "policy", 1).path
    base, options = base_of(adapter)
    assert base == run / "cold_start"
    assert (options.dtype, options.quantization, options.revision) == ("bfloat16", "4bit", "")
    out = merge(run, tmp_path / "out")
    from transformers import AutoModelForImageTextToText

    stored = AutoModelForImageTextToText.from_pretrained(out, dtype="auto")
    wanted = dict(merged(small_adapter(build("qwen3-vl")[0].bfloat16())).named_parameters())
    assert stored.dtype == torch.bfloat16
    assert all(torch.equal(weight, wanted[name]) for name, weight in stored.named_parameters())
