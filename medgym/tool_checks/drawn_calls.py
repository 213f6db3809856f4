"""Calls of a tool, drawn from its own JSON schema; about every third is spoilt in one place."""

import random
from collections.abc import Mapping
from typing import Any

from medgym.workspace import Workspace

ODD: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "x" * 3000, "\x00\ud800",
    [], [[]], [None] * 4, [1, 2, 3, 4, 5], {}, {"view": 0},
)  # fmt: skip
"""Values that no argument asks for, or at the edge of what one can be."""


def shown(call: Mapping[str, Any]) -> str:
    """A call as a fault names it."""
    text = repr(dict(call))
    return text if len(text) <= 200 else text[:194] + " [cut]"


def draw_call(
    parameters: Mapping[str, Any], chance: random.Random, workspace: Workspace
) -> dict[str, Any]:
    """Arguments as the schema describes them; about every third call is spoilt in one place."""
    required = set(parameters.get("required", ()))
    call = {
        argument: _draw(described, parameters, chance, workspace)
        for argument, described in parameters["properties"].items()
        if argument in required or chance.random() < 0.5
    }
    if chance.random() < 0.3:
        spoilt = chance.choice([*parameters["properties"], "no_such_argument"])
        if spoilt in call and chance.random() < 0.3:
            del call[spoilt]
        else:
            call[spoilt] = chance.choice(ODD)
    return call


def kinds_of(described: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of a schema: those that name a type, a constant or a choice."""
    if "$ref" in described:
        return kinds_of(root["$defs"][described["$ref"].rpartition("/")[2]], root)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in described:
            return [kind for each in described[key] for kind in kinds_of(each, root)]
    return [described] if described.keys() & {"type", "enum", "const"} else []


def _draw(
    described: Mapping[str, Any],
    root: Mapping[str, Any],
    chance: random.Random,
    workspace: Workspace,
) -> Any:
    kind = chance.choice(kinds_of(described, root))
    if "const" in kind:
        return kind["const"]
    if "enum" in kind:
        return chance.choice(kind["enum"])
    if kind["type"] == "array":
        return _draw_array(kind, root, chance, workspace)
    if kind["type"] == "object":
        inner = kind.get("properties", {})
        return {key: _draw(each, root, chance, workspace) for key, each in inner.items()}
    if kind["type"] == "string":
        least = kind.get("minLength", 0)
        letters = "abcdefgh lesion pattern é\n\x00"
        return "".join(chance.choices(letters, k=least + chance.randrange(20)))
    if kind["type"] == "boolean":
        return chance.random() < 0.5
    if kind["type"] == "null":
        return None
    low = kind.get("minimum", kind.get("exclusiveMinimum", 0))
    if kind["type"] == "integer":
        # A view's number is the commonest whole number of a call: mostly one that exists.
        high = kind.get("maximum", low + len(workspace.views))
        return chance.randint(int(low), int(high))
    return chance.uniform(low, kind.get("maximum", kind.get("exclusiveMaximum", 1000)))


def _draw_array(
    kind: Mapping[str, Any],
    root: Mapping[str, Any],
    chance: random.Random,
    workspace: Workspace,
) -> list[Any]:
    items = kind.get("prefixItems")
    if items is None:
        least = kind.get("minItems", 0)
        length = chance.randint(least, kind.get("maxItems", least + 3))
        items = [kind.get("items", {"type": "number"})] * length
    values = [_draw(each, root, chance, workspace) for each in items]
    numbers = all(isinstance(value, int | float) for value in values)
    if len(values) == 4 and numbers and chance.random() < 0.8:
        # A box of the right form: corners in order, sometimes a sliver, sometimes the whole view.
        x, y = sorted(values[::2]), sorted(values[1::2])
        if chance.random() < 0.2:
            x[1] = x[0] + 1e-6
        values = [x[0], y[0], x[1], y[1]] if chance.random() < 0.9 else [0, 0, 1000, 1000]
    return values
