"""What is wrong with a checkpoint is said in one line when a tool is made, before any play."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medgym import Tool, UserError, load
from medgym.imaging.study import Study
from medgym.tool import load_tools
from medgym.workspace import Workspace

Made = Callable[[str], Path]


def altered(folder: Path, copy: Path, **config: object) -> Path:
    """A copy of a checkpoint with other entries of its config; None takes one away."""
    shutil.copytree(folder, copy)
    path = copy / "config.json"
    changed = json.loads(path.read_text()) | config
    path.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))
    return copy


def error_of(spec: str) -> str:
    with pytest.raises(UserError) as caught:
        load_tools([spec])
    text = str(caught.value)
    assert "\n" not in text
    assert "; fix: " in text
    return text


@pytest.mark.parametrize(
    "spec",
    ["detect", "classify", "classify?backend=torchxrayvision", "segment?backend=sam2",
     "segment?backend=transformers", "segment?backend=monai"],
)  # fmt: skip
def test_there_is_no_default_model(spec: str) -> None:
    assert "has no model" in error_of(spec)


@pytest.mark.parametrize("tool", ["detect", "segment?backend=sam2"])
def test_what_is_missing_is_named(tool: str, made: Made, tmp_path: Path) -> None:
    start = f"{tool}{'&' if '?' in tool else '?'}model="
    whole = made("sam2" if "sam2" in tool else "vit")
    assert "neither a folder nor in the hub's cache" in error_of(f"{start}{tmp_path}/none")
    assert "neither a folder nor in the hub's cache" in error_of(f"{start}someone/no-such-model")
    assert "is a file" in error_of(f"{start}{whole}/config.json")
    assert "has no config.json" in error_of(f"{start}{tmp_path}")
    bare = altered(whole, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    assert "has no weights" in error_of(f"{start}{bare}")
    blind = altered(whole, tmp_path / "blind")
    for name in ("preprocessor_config.json", "processor_config.json"):
        (blind / name).unlink(missing_ok=True)
    (blind / "video_preprocessor_config.json").unlink(missing_ok=True)
    assert "has no preprocessor_config.json" in error_of(f"{start}{blind}")
    broken = altered(whole, tmp_path / "broken")
    (broken / "config.json").write_text("{")
    assert "cannot be read as JSON" in error_of(f"{start}{broken}")
    assert "has no model_type" in error_of(
        f"{start}{altered(whole, tmp_path / 'typeless', model_type=None)}"
    )


def test_another_kind_of_model_is_refused(made: Made) -> None:
    assert "type 'vit', which does not do this: detect" in error_of(f"detect?model={made('vit')}")
    assert "type 'yolos'" in error_of(f"classify?model={made('yolos')}")
    assert "no SAM 2" in error_of(f"segment?backend=sam2&model={made('vit')}")
    assert "segment by text" in error_of(f"segment?backend=transformers&model={made('vit')}")


def test_classes_need_names(made: Made, tmp_path: Path) -> None:
    numbers = {str(number): f"LABEL_{number}" for number in range(3)}
    folder = altered(made("vit"), tmp_path / "nameless", id2label=numbers)
    assert "have no names, only 'LABEL_0'" in error_of(f"classify?model={folder}")
    (tool,) = load_tools([f"classify?model={folder}&labels=a;b;c"])
    assert tool.fidelity == "predicted"
    assert "labels has 2 names" in error_of(f"classify?model={folder}&labels=a;b")


def test_options_that_mean_nothing_are_refused(made: Made) -> None:
    vit = made("vit")
    assert "has no use for model" in error_of(f"detect?backend=oracle&model={vit}")
    assert "has no use for accuracy" in error_of(f"classify?model={vit}&accuracy=0.5")
    assert "has no use for labels" in error_of("detect?backend=oracle&labels=a")
    assert "is not asked by text" in error_of(f"classify?model={vit}&prompt=a {{}}")
    assert "top=0" in error_of("detect?backend=oracle&top=0")
    assert "threshold=2" in error_of("classify?backend=oracle&threshold=2")
    assert "precision=0 is no share" in error_of("detect?backend=noised&precision=0")
    assert "device" in error_of(f"classify?model={vit}&device=abacus")


def test_missing_weights_are_refused_and_not_made_up(made: Made, tmp_path: Path) -> None:
    """transformers only warns, and goes on with random numbers."""
    from safetensors.torch import load_file, save_file

    folder = altered(made("vit"), tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tool: Tool = load("tools", "classify")(model=str(folder))
    workspace = Workspace([Study(np.zeros((8, 8), np.uint8))])
    with pytest.raises(UserError, match=r"lacks 1 of the weights .* such as classifier\.weight"):
        tool(tool.parse({"view": 0}), workspace)


def test_a_tool_says_what_its_model_takes(made: Made) -> None:
    (tool,) = load_tools([f"classify?model={made('vit')}&device=cpu"])
    assert tool.resources == {}
    assert tool.batch_size == 8
    assert tool.deadline_s == 600
