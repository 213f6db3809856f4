"""The schema of the arguments of a server's tool: what a policy reads, what a call is held to."""

import json
import re
import sys
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

_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords whose values are schemas by names, or by patterns of names."""

_WHAT_IS_LEFT = ("additionalProperties", "unevaluatedProperties")
"""Keywords about what no pattern fits."""

_SAID: set[tuple[str, ...]] = set()
"""What was warned of."""


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
    """Refuse what is no JSON schema, and say which patterns the server alone can check."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    unread: list[str] = []
    try:
        readable = _readable(schema, unread)
        validator_for(readable).check_schema(readable)
    except (SchemaError, RecursionError):
        raise UserError(
            f"mcp: the schema of the tool {name!r} is no JSON schema; fix: correct the server, or "
            "choose other tools by only=A,B"
        ) from None
    if unread and (name, *unread) not in _SAID:
        _SAID.add((name, *unread))
        said = ", ".join(plain_text(repr(each), 80) for each in unread)
        print(
            f"medgym: warning: mcp: the tool {name!r} has patterns that only its server can check, "
            f"for they are none of Python: {said}",
            file=sys.stderr,
        )


def _readable(schema: Any, unread: list[str]) -> Any:
    """A schema without the patterns that Python cannot read, which are added to `unread`.

    JSON schemas have the regular expressions of ECMAScript.
    """
    if isinstance(schema, list):
        return [_readable(each, unread) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    before = len(unread)
    for key, value in schema.items():
        if key in _VALUES:
            made[key] = value
        elif key in _BY_NAME and isinstance(value, dict):
            made[key] = {
                name: _readable(each, unread)
                for name, each in value.items()
                if key != "patternProperties" or _is_read(name, unread)
            }
        elif key != "pattern" or not isinstance(value, str) or _is_read(value, unread):
            made[key] = _readable(value, unread)
    if len(unread) > before and "patternProperties" in made:
        for key in _WHAT_IS_LEFT:  # which would refuse what a lost pattern allows
            made.pop(key, None)
    return made


def _is_read(pattern: str, unread: list[str]) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        unread.append(pattern)
        return False
    return True


def _validator(parameters: str) -> Any:
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = _readable(json.loads(parameters), [])
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
