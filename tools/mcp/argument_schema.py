"""The schema of the arguments of a server's tool: what a policy reads, what a call is held to."""

import json
from typing import Any

import mcp_types as types

from medgym.errors import UserError

from .results import plain_text
from .target import Target

VIEW = "view"
"""The argument that stands in the place of the picture."""

MOST_SCHEMA = 8_000
"""Characters of the schema of a tool's arguments."""

_VALUES = ("const", "default", "enum", "examples")
"""Keywords whose values are data, and no schemas."""

_BY_NAME = ("properties", "$defs", "definitions", "dependentSchemas")
"""Keywords whose values are schemas by names."""

_PATTERNS = frozenset(("pattern", "patternProperties"))
"""Keywords with regular expressions."""

_EXACT = frozenset(("oneOf", "not", "if", "contains", "unevaluatedProperties", "unevaluatedItems"))
"""Keywords that would refuse what a schema allows, once a part of it was left out."""


def parameters_of(target: Target, listed: types.Tool) -> tuple[str, str]:
    """The schema of a policy's arguments as JSON, and the kind of the argument that is a picture:
    `one`, `array`, or empty where there is none."""
    schema = {key: value for key, value in listed.input_schema.items() if key != "$schema"}
    schema.setdefault("type", "object")
    properties = dict(schema.get("properties") or {})
    kind = ""
    if target.image in properties:
        described = properties.pop(target.image)
        kind = (
            "array" if isinstance(described, dict) and described.get("type") == "array" else "one"
        )
        if VIEW in properties:
            raise UserError(
                f"mcp: the tool {listed.name!r} has an argument {VIEW!r} beside {target.image!r}; "
                f"fix: choose other tools by only=A,B"
            )
        number = {"type": "integer", "minimum": 0, "description": "number of a view"}
        properties = {VIEW: number, **properties}
        required = [each for each in schema.get("required", ()) if each != target.image]
        schema["required"] = [VIEW, *required]
    schema["properties"] = properties
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) > MOST_SCHEMA:
        raise UserError(
            f"mcp: the arguments of the tool {listed.name!r} take {len(text)} characters to "
            f"describe, and {MOST_SCHEMA} are the most; fix: choose other tools by only=A,B"
        )
    _check(listed.name, schema)
    return text, kind


def _check(name: str, schema: dict[str, Any]) -> None:
    """Refuse what is no JSON schema."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        checked = _checked(schema)
        validator_for(checked).check_schema(checked)
    except (SchemaError, RecursionError):
        raise UserError(
            f"mcp: the schema of the tool {name!r} is no JSON schema; fix: correct the server, or "
            "choose other tools by only=A,B"
        ) from None


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    """The part of a schema by which calls are checked here: all but its regular expressions.

    They are those of JavaScript, and one of a stranger can keep Python busy for ever.
    """
    if _without(schema, _PATTERNS) == schema:
        return schema
    found: dict[str, Any] = _without(schema, _PATTERNS | _EXACT)
    return found


def _without(schema: Any, keywords: frozenset[str]) -> Any:
    """A schema without some keywords, wherever they stand."""
    if isinstance(schema, list):
        return [_without(each, keywords) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _VALUES:
            made[key] = value
        elif key in _BY_NAME and isinstance(value, dict):
            made[key] = {name: _without(each, keywords) for name, each in value.items()}
        elif key not in keywords:
            made[key] = _without(value, keywords)
    if "patternProperties" in schema:  # what it allows would be refused as additional
        made.pop("additionalProperties", None)
    return made


def _validator(parameters: str) -> Any:
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = _checked(json.loads(parameters))
    # Nothing is fetched: a reference resolves within the schema or not at all.
    return validator_for(schema)(schema, registry=Registry())


def fault_of(parameters: str, given: dict[str, Any]) -> str | None:
    """What is wrong with the arguments of a call, if anything."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(_validator(parameters).iter_errors(given))
    except (Unresolvable, RecursionError):  # a reference to nowhere, or to itself: the server says
        return None
    except OverflowError:
        return "a number is too large; expected a smaller one"
    if error is None:
        return None
    where = ".".join(str(part)[:40] for part in error.absolute_path)
    said = plain_text(f"{where}: {error.message}" if where else error.message, 300)
    expected = ", ".join(json.loads(parameters)["properties"])
    return f"{said}; expected the arguments {expected}"
