"""The forms in which model families write tool calls, found in a chat template by asking it."""

from .native import NativeCalls
from .option import take_tool_form

__all__ = ["NativeCalls", "take_tool_form"]
