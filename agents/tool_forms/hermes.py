"""Hermes: JSON between tags, as Qwen2.5, Qwen3 and Qwen3-VL write it."""

from typing import ClassVar

from medgym.messages import ToolCall, strict_json

from .form import Schemas, ToolForm


class Hermes(ToolForm):
    """`<tool_call>\\n{"name": "zoom", "arguments": {"view": 0}}\\n</tool_call>`."""

    name: ClassVar[str] = "hermes"
    example: ClassVar[str] = '<tool_call>{"name": TOOL, "arguments": {...}}</tool_call>'

    def read(self, body: str, schemas: Schemas) -> ToolCall:
        """See `ToolForm`."""
        value = strict_json(body)
        if (
            isinstance(value, dict)
            and value.keys() == {"name", "arguments"}
            and isinstance(value["name"], str)
            and isinstance(value["arguments"], dict)
        ):
            return ToolCall(value["name"], value["arguments"])
        raise ValueError("it has other keys than name and arguments")
