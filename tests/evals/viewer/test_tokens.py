"""Tokens as text: what has no tokenizer at hand is shown without them, never as an error."""

from pathlib import Path

import pytest

from medgym.evals.viewer.tokens import Pieces
from medgym.trajectory import Node


@pytest.mark.parametrize("policy", ["hf:/me@corp/a@/me@corp/b", "vllm:none?max_loras=2", "human"])
def test_a_policy_whose_model_cannot_be_found_has_no_pieces(tmp_path: Path, policy: str) -> None:
    node = Node(0, "assistant", "x", token_ids=(1,), logprobs=(0.0,))
    assert Pieces(tmp_path).of(policy, node) == []
