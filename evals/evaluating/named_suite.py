"""The suite that a command names, where the command sets nothing that the suite sets."""

import os
from collections.abc import Collection

import typer

from medgym.case_spec import unreadable
from medgym.errors import UserError
from medgym.registry import names
from medgym.suite import Suite, load_suite

PROTOCOL = (
    "tools",
    "no_tools",
    "rubric",
    "max_turns",
    "temperature",
    "max_tokens",
    "judge",
)
"""The options that a suite sets."""


def is_suite(cases: str) -> bool:
    """Whether what stands in the place of cases can only be the name of a suite."""
    return ":" not in cases and not cases.endswith(".jsonl")


def named_suite(context: typer.Context, name: str, allowed: Collection[str] = ()) -> Suite:
    """The suite of that name.

    Args:
        allowed: options of `PROTOCOL` that are given in a sense that changes no protocol.

    Raises:
        UserError: there is none, or the command sets what the suite sets.
    """
    known = names("suites")
    if name not in known and ("," in name or os.path.exists(name) or os.path.splitext(name)[1]):
        raise unreadable(name)
    if name not in known:
        raise UserError(
            f"cannot read the cases {name!r}, and no suite has that name; fix: write SOURCE:SPLIT, "
            f"a .jsonl file, or a suite ({', '.join(known)})"
        )
    for option in (each for each in PROTOCOL if each not in allowed):
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            flag = f"--{option.replace('_', '-')}"
            raise UserError(f"the suite {name} sets its own protocol; fix: omit {flag}")
    return load_suite(name)
