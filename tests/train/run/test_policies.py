"""A policy that a recipe names is looked for before the run, without its weights."""

from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.train.run.policies import check_policy


def test_a_model_s_adapter_is_looked_for(tiny_folder: Path, tmp_path: Path) -> None:
    check_policy(f"hf:{tiny_folder}")
    with pytest.raises(UserError, match=r"no adapter in .*/no"):
        check_policy(f"hf:{tiny_folder}@{tmp_path / 'no'}")


def test_what_needs_a_library_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medgym.agents.vllm.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"vllm is not installed; fix: pip install"):
        check_policy("vllm:./nowhere")
    monkeypatch.setattr("medgym.agents.vllm.find_spec", lambda name: object())
    with pytest.raises(UserError, match=r"no such model folder: \./nowhere"):
        check_policy("vllm:./nowhere")
    with pytest.raises(UserError, match="unknown option of vllm"):
        check_policy("vllm:./nowhere?max_lora=2")
