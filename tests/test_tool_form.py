"""The option `tool_form` of a policy's spec."""

import pytest

from medgym.errors import UserError
from medgym.tool_form import in_tool_form, take_tool_form


def test_the_option_names_a_form() -> None:
    assert take_tool_form("hf", "a?tool_form=native&dtype=auto") == ("a?dtype=auto", "native")
    assert take_tool_form("hf", "a?dtype=auto") == ("a?dtype=auto", "text")
    with pytest.raises(UserError, match=r"nativ.*native"):
        take_tool_form("hf", "a?tool_form=nativ")


@pytest.mark.parametrize(
    ("spec", "native"),
    [
        ("hf:a/b", "hf:a/b?tool_form=native"),
        ("hf:a@b", "hf:a?tool_form=native@b"),
        ("vllm:a?max_model_len=9", "vllm:a?max_model_len=9&tool_form=native"),
        ("openai:http://h:1/v1#m@a", "openai:http://h:1/v1?tool_form=native#m@a"),
    ],
)
def test_a_spec_takes_the_form_and_loses_it(spec: str, native: str) -> None:
    assert in_tool_form(spec, "native") == native
    assert in_tool_form(native, "native") == native
    assert in_tool_form(native, "text") == spec == in_tool_form(spec, "text")
