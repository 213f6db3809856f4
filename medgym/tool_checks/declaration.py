"""What a tool says of itself: its name, docstring and fidelity, and the schema of its arguments."""

import json
import re
from typing import get_args

from medgym.tool import Fidelity, Tool

from .breach import Breach, expect
from .drawn_calls import kinds_of


def check_declaration(tool: Tool) -> None:
    """Raise a `Breach` where a tool does not say what it must, or says it in another form."""
    name = getattr(tool, "name", None)
    expect(
        isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) is not None,
        "declaration",
        f"{type(tool).__name__}: name is {name!r}; expected letters, digits, - and _",
    )
    expect(
        tool.fidelity in get_args(Fidelity),
        "declaration",
        f"{name}: fidelity is {tool.fidelity!r}; expected one of {', '.join(get_args(Fidelity))}",
    )
    expect(
        type(tool).__doc__ is not None and bool(tool.description.strip()),
        "declaration",
        f"{name}: no docstring; it is what the policy reads",
    )


def check_schema(tool: Tool) -> None:
    """Raise a `Breach` where the schema of a tool's arguments is none, or leaves one out."""
    name = tool.name
    schema = tool.schema()
    try:
        same = json.loads(json.dumps(schema, allow_nan=False)) == schema
    except (TypeError, ValueError) as error:
        raise Breach("schema", f"{name}: the schema is not JSON: {error}") from error
    parameters = schema.get("parameters", {})
    expect(
        same and parameters.get("type") == "object" and isinstance(parameters["properties"], dict),
        "schema",
        f"{name}: the parameters' schema is not that of an object",
    )
    expect(
        set(parameters.get("required", ())) <= set(parameters["properties"]),
        "schema",
        f"{name}: the schema requires an argument that it does not describe",
    )
    for argument, described in parameters["properties"].items():
        expect(
            bool(kinds_of(described, parameters)),
            "schema",
            f"{name}: the schema does not say what {argument!r} is",
        )
