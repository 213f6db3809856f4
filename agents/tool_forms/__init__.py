"""The forms in which model families write tool calls, found in a chat template by asking it."""

from .native import NativeCalls

__all__ = ["NativeCalls"]
