"""`vllm:` without its library: what a spec says wrong is found before the engine is needed."""

import pytest

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
