"""The two ways in which medgym says no to its user.

Each carries one line that names the thing and the fix; the command prints that line alone, without
a traceback, and turns the class into its exit status. A policy never sees these: what a policy does
wrong is an observation (`ToolError`).
"""

import difflib
from collections.abc import Iterable
from typing import Literal


class UserError(Exception):
    """It was asked wrongly: a bad spec, a missing file, a wrong key. Exit status 2."""


class RunError(Exception):
    """It was asked rightly and failed all the same. Exit status 1."""


Fault = Literal["name", "type", "value"]
"""What was wrong with a call: a name (of the tool or of an argument), an argument's type, or a
value that the schema admits and these images do not (a box outside the view)."""


class ToolError(Exception):
    """A policy's mistake in a call. Its text is the observation; it says what was expected."""

    def __init__(self, text: str = "", fault: Fault = "value") -> None:
        super().__init__(text)
        self.fault: Fault = fault


def unknown(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not known: it names the nearest known one, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return UserError(f"unknown {what} {given!r}; {fix}")


def closed_output() -> RunError:
    """The error for an output that nobody reads any more, as that of `medgym ... | head`."""
    return RunError("the output was closed before its end; fix: let it be read whole")


def missing_extra(extra: str, error: ImportError) -> UserError:
    """The error for a library that an optional part needs and that is not installed."""
    return UserError(f"{error.name or error} is not installed; fix: pip install 'medgym[{extra}]'")
