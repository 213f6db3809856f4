"""Publishing adapters: whole or not at all, never in place, and followed by samplers."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from medgym.agents.prompt_check import DriftError, check_prompt, one_placeholder_each
from medgym.agents.rendering import Prompt
from medgym.errors import UserError
from medgym.storage.adapters import (
    HASH,
    Samplers,
    check_fit,
    checked,
    final,
    mark_best,
    name_of,
    publish,
    published,
)

LAYER = "model.layers.0.self_attn.q_proj"


def write_adapter(folder: Path, value: float = 0.0, layer: str = LAYER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 2}))
    name = f"base_model.model.{layer}"
    weights = {
        f"{name}.lora_A.weight": np.full((2, 8), value, np.float32),
        f"{name}.lora_B.weight": np.full((6, 2), value, np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "README.md").write_text("not ours")
    return folder


def write_base(folder: Path, prefix: str = "model.language_model.", shape: Any = (6, 8)) -> Path:
    folder.mkdir(parents=True)
    name = f"{prefix}layers.0.self_attn.q_proj.weight"
    save_file({name: np.zeros(shape, np.float32)}, folder / "model.safetensors")
    return folder


def test_a_version_is_written_under_its_own_path(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    version = publish(adapter, tmp_path / "run", "triage", 10)
    assert version.name == "triage-10"
    assert version.path == tmp_path / "run" / "adapters" / "triage" / "10"
    names = ["adapter_config.json", "adapter_model.safetensors"]
    assert sorted(path.name for path in version.path.iterdir()) == [*names, HASH]
    for name in names:
        assert (version.path / name).read_bytes() == (adapter / name).read_bytes()
    assert name_of(version.path) == "triage-10"
    assert publish(adapter, tmp_path / "run", "triage", 10) == version  # as a resumed run does
    publish(adapter, tmp_path / "run", "triage", 9)
    assert [v.step for v in published(tmp_path / "run", "triage")] == [9, 10]
    assert published(tmp_path / "run", "attending") == ()


def test_a_run_plays_by_its_best_version_or_else_by_its_newest(tmp_path: Path) -> None:
    assert final(tmp_path, "policy") is None
    versions = {
        step: publish(write_adapter(tmp_path / str(step), step), tmp_path, "policy", step)
        for step in (2, 4, 10)
    }
    assert final(tmp_path, "policy") == versions[10]
    mark_best(versions[4])
    assert final(tmp_path, "policy") == versions[4]
    assert [version.step for version in published(tmp_path, "policy")] == [2, 4, 10]
    for file in versions[4].path.iterdir():  # a resumed run drops what it repeats
        file.unlink()
    versions[4].path.rmdir()
    assert final(tmp_path, "policy") == versions[10]


def test_a_version_is_never_changed(tmp_path: Path) -> None:
    version = publish(write_adapter(tmp_path / "lora"), tmp_path / "run", "triage", 1)
    before = (version.path / "adapter_model.safetensors").read_bytes()
    with pytest.raises(UserError, match="holds another adapter; fix: publish under a new step"):
        publish(write_adapter(tmp_path / "lora", 1.0), tmp_path / "run", "triage", 1)
    assert (version.path / "adapter_model.safetensors").read_bytes() == before


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = write_adapter(tmp_path / "lora")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            publish(adapter, tmp_path / "run", "triage", 1)
    assert list((tmp_path / "run" / "adapters" / "triage").iterdir()) == []
    assert publish(adapter, tmp_path / "run", "triage", 1).path.is_dir()


@pytest.mark.parametrize(("role", "step"), [("", 1), ("../x", 1), ("a b", 1), ("triage", -1)])
def test_a_bad_name_is_refused(tmp_path: Path, role: str, step: int) -> None:
    with pytest.raises(UserError, match="cannot name a version"):
        publish(write_adapter(tmp_path / "lora"), tmp_path / "run", role, step)
    assert not (tmp_path / "run").exists()


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no adapter in .* \(no adapter_config.json\); fix"):
        publish(tmp_path, tmp_path / "run", "triage", 1)


def test_other_adapters_are_called_by_their_content(tmp_path: Path) -> None:
    first = name_of(write_adapter(tmp_path / "lora"))
    assert first.startswith("lora-")
    assert name_of(write_adapter(tmp_path / "lora", 1.0)) != first


@pytest.mark.parametrize("prefix", ["model.language_model.", "model.", "", "language_model.model."])
def test_an_adapter_fits_however_its_base_names_things(tmp_path: Path, prefix: str) -> None:
    check_fit(write_adapter(tmp_path / "lora"), write_base(tmp_path / "base", prefix))


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    adapter, base = write_adapter(tmp_path / "lora"), write_base(tmp_path / "base")
    with pytest.raises(UserError, match=r"does not fit the base .*another shape.*; fix: "):
        check_fit(adapter, write_base(tmp_path / "wide", shape=(6, 16)))
    for layer in ("model.layers.1.self_attn.q_proj", "model.layers.0.self_attn.qkv", "lm_head"):
        with pytest.raises(UserError, match=r"is not there\); fix: "):
            check_fit(write_adapter(tmp_path / "lora", layer=layer), base)
    check_fit(write_adapter(tmp_path / "lora", layer="model.layers.0.mlp.experts.3.up_proj"), base)
    (adapter / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot read the adapter"):
        check_fit(adapter, base)


class Sampler:
    def __init__(self) -> None:
        self.held: list[str] = []

    def with_adapter(self, name: str, path: Path) -> Any:
        if name not in self.held:
            self.held.append(name)
        return name

    def drop_adapter(self, name: str) -> None:
        self.held.remove(name)


def test_samplers_keep_the_last_versions_of_each_role(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    first, second = Sampler(), Sampler()
    samplers = Samplers([first, second], keep=2)
    for step in (1, 2, 2, 3):
        for role in ("triage", "attending"):
            version = publish(adapter, tmp_path / "run", role, step)
            assert samplers.load(version) == (version.name,) * 2
    assert first.held == second.held
    assert sorted(first.held) == ["attending-2", "attending-3", "triage-2", "triage-3"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=6))
def test_shrunk_prompts_hold_one_placeholder_for_each_image(
    pieces: list[tuple[int, int]],
) -> None:
    image = 9
    ids = tuple(t for text, size in pieces for t in (*range(text), *[image] * size))
    prompt = Prompt(ids, (), tuple(size for _, size in pieces))
    assert one_placeholder_each(prompt, image) == [
        t for text, _ in pieces for t in (*range(text), image)
    ]
    check_prompt(list(ids), prompt, "engine")
    for other in (ids[:-1], (*ids, 1), (7, *ids[1:]), None):
        if other != ids:
            with pytest.raises(DriftError):
                check_prompt(other, prompt, "engine")


def test_a_version_that_is_not_what_was_published_is_refused(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    version = publish(adapter, tmp_path / "run", "triage", 10)
    weights = version.path / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for read in (checked, name_of, lambda _: publish(adapter, tmp_path / "run", "triage", 10)):
        with pytest.raises(UserError, match=r"triage/10 is damaged: it is not what was published;"):
            read(version.path)
    (version.path / HASH).unlink()  # as versions have it that are older
    assert name_of(version.path) == "triage-10"
