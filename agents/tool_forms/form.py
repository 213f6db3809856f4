"""A form of tool calls: how the text of one call becomes its name and its arguments."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from medgym.messages import ToolCall

Schemas = Mapping[str, Mapping[str, Any]]
"""The JSON schema of the parameters of each tool, by the tool's name."""


class ToolForm(ABC):
    """A family's form of tool calls.

    Attributes:
        name: of the form, as errors and reports have it.
        begin, end: what stands around each call.
        marks: all texts that have a meaning in a call; no value may spell one.
        example: of a call, for the error that a malformed one is answered with.
    """

    name: ClassVar[str]
    begin: ClassVar[str] = "<tool_call>"
    end: ClassVar[str] = "</tool_call>"
    marks: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str]

    @abstractmethod
    def read(self, body: str, schemas: Schemas) -> ToolCall:
        """The call between `begin` and `end`.

        Raises:
            ValueError: it is not written in this form.
            RecursionError: it is nested too deeply.
        """

    @property
    def pattern(self) -> re.Pattern[str]:
        """One call with the space before it."""
        begin, end = re.escape(self.begin), re.escape(self.end)
        return re.compile(rf"\s*{begin}(.*?){end}", re.DOTALL)

    def plain(self, value: Any) -> Any:
        """The value with a space in each text that spells a mark of this form."""
        if isinstance(value, str):
            for mark in (self.begin, self.end, *self.marks):
                value = value.replace(mark, f"{mark[0]} {mark[1:]}")
            return value
        if isinstance(value, Mapping):
            return {self.plain(key): self.plain(each) for key, each in value.items()}
        return [self.plain(each) for each in value] if isinstance(value, list) else value

    def writable(self, call: ToolCall) -> ToolCall:
        """The call with arguments that this form can hold."""
        return ToolCall(call.name, self.plain(call.arguments))
