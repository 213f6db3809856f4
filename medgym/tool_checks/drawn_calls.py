"""Calls of a tool, drawn from its own JSON schema; about every third is spoilt in one place."""

import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from medgym.workspace import Workspace

ODD: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", "x" * 3000, "\x00\ud800",
    [], [[]], [None] * 4, [1, 2, 3, 4, 5], {}, {"view": 0},
)  # fmt: skip
"""Values that no argument asks for, or at the edge of what one can be."""

DEEP = 4
"""Levels of a value from which it is drawn as small as it can be; from twice as many it ends."""

MOST = 1_000
"""Items and characters of a drawn value, at most, whatever the schema asks for."""


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


def kinds_of(
    described: object, root: Mapping[str, Any], met: frozenset[str] = frozenset()
) -> list[Mapping[str, Any]]:
    """The alternatives of a schema: those that name a type, a constant or a choice. There are none
    where it says nothing, or refers to nothing, or only to itself.

    Args:
        met: references on the way to it.
    """
    if not isinstance(described, Mapping):
        return []
    if "$ref" in described:
        named = str(described["$ref"])
        return [] if named in met else kinds_of(_referred(named, root), root, met | {named})
    for key in ("anyOf", "oneOf", "allOf"):
        if key in described:
            return [kind for each in described[key] for kind in kinds_of(each, root, met)]
    if isinstance(described.get("type"), list):
        return [{**described, "type": each} for each in described["type"]]
    return [described] if described.keys() & {"type", "enum", "const"} else []


def _referred(named: str, root: Mapping[str, Any]) -> object:
    """What a reference within a schema means, a JSON pointer such as `#/$defs/Node`."""
    found: Any = root
    for part in named.removeprefix("#").split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key) if isinstance(found, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return found if named.startswith("#") else None


def _draw(
    described: object,
    root: Mapping[str, Any],
    chance: random.Random,
    workspace: Workspace,
    depth: int = 0,
) -> Any:
    """A value. Deep within one that holds itself, it is as small as it can be, and ends."""
    kinds = kinds_of(described, root) if depth < 2 * DEEP else []
    if not kinds:
        return None
    kind = chance.choice(kinds)
    if "const" in kind:
        return kind["const"]
    if "enum" in kind:
        return chance.choice(kind["enum"]) if kind["enum"] else None
    if kind["type"] == "array":
        return _draw_array(kind, root, chance, workspace, depth)
    if kind["type"] == "object":
        inner = kind.get("properties", {})
        drawn = inner if depth < DEEP else {*inner} & {*kind.get("required", ())}
        return {
            key: _draw(each, root, chance, workspace, depth + 1)
            for key, each in inner.items()
            if key in drawn
        }
    if kind["type"] == "string":
        least = min(kind.get("minLength", 0), MOST)
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
        return chance.randint(int(low), max(int(low), int(high)))
    return chance.uniform(low, kind.get("maximum", kind.get("exclusiveMaximum", 1000)))


def _draw_array(
    kind: Mapping[str, Any],
    root: Mapping[str, Any],
    chance: random.Random,
    workspace: Workspace,
    depth: int,
) -> list[Any]:
    items = kind.get("prefixItems")
    if items is None:
        least = min(kind.get("minItems", 0), MOST)
        most = least if depth >= DEEP else min(kind.get("maxItems", least + 3), MOST)
        length = chance.randint(least, max(least, most))
        items = [kind.get("items", {"type": "number"})] * length
    values = [_draw(each, root, chance, workspace, depth + 1) for each in items]
    numbers = all(isinstance(value, int | float) for value in values)
    if len(values) == 4 and numbers and chance.random() < 0.8:
        # A box of the right form: corners in order, sometimes a sliver, sometimes the whole view.
        x, y = sorted(values[::2]), sorted(values[1::2])
        if chance.random() < 0.2:
            x[1] = x[0] + 1e-6
        values = [x[0], y[0], x[1], y[1]] if chance.random() < 0.9 else [0, 0, 1000, 1000]
    return values
