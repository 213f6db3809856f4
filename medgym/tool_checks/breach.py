"""A breach of a tool's contract, and the check that finds it."""

from typing import Literal, get_args

Check = Literal[
    "declaration", "schema", "arguments", "results", "workspace", "repeats", "batches", "time",
    "memory",
]  # fmt: skip

CHECKS: dict[Check, str] = {
    "declaration": "it has a name, a docstring and a fidelity",
    "schema": "it says in JSON what each argument is",
    "arguments": "what cannot be done is a ToolError with a text, and nothing else is raised",
    "results": "text, views and data are of the form that episodes and records need",
    "workspace": "workspace and pixels stay as they were",
    "repeats": "the same call yields the same result, whatever was called before",
    "batches": "calls that are done together yield what each yields by itself",
    "time": "every call ends within deadline_s",
    "memory": "no call needs more than memory_mb",
}
"""What each check asks for, in the order in which they are listed."""

assert tuple(CHECKS) == get_args(Check)


class Breach(AssertionError):
    """A tool breaks its contract; the text says how, and by which call."""

    def __init__(self, check: Check, fault: str) -> None:
        super().__init__(fault)
        self.check: Check = check


def expect(holds: bool, check: Check, fault: str) -> None:
    """Raise a `Breach` unless it holds."""
    if not holds:
        raise Breach(check, fault)
