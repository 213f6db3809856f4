"""Numbers that a policy wrote as texts: the call is carried out, and the fault is recorded.

Models write `"view": "0"` and `"box": ["120", "80.5", "300", "220"]`. What is meant is beyond
doubt, so the call is read as it is meant. Any other text where a number belongs is refused.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from medgym.errors import ToolError
from medgym.tool import Tool, ToolArgs

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def parsed(tool: Tool, arguments: Mapping[str, Any]) -> tuple[ToolArgs, tuple[str, ...]]:
    """The arguments of a call, and the names of those in which numbers were written as texts.

    Raises:
        ToolError: as of `Tool.parse`.
    """
    try:
        return tool.parse(arguments), ()
    except ToolError as error:
        if error.fault != "type":
            raise
        read, names = _numbers_read(tool, arguments)
        if not names:
            raise
    return tool.parse(read), names


def _numbers_read(
    tool: Tool, arguments: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The arguments with a number in place of each text that is one, where a number belongs."""
    try:
        tool.Args.model_validate(dict(arguments))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
    except OverflowError:
        return arguments, ()
    else:
        return arguments, ()
    try:
        read, names = deepcopy(dict(arguments)), []
    except RecursionError:  # JSON may be nested more deeply than Python copies
        return arguments, ()
    for fault in faults:
        number = _number(fault["input"], whole=fault["type"] == "int_type")
        if fault["type"] not in ("int_type", "float_type") or number is None:
            continue
        if _put(read, fault["loc"], fault["input"], number):
            names.append(str(fault["loc"][0]))
    return read, tuple(dict.fromkeys(names))


def _number(given: object, *, whole: bool) -> int | float | None:
    if not isinstance(given, str):
        return None
    text = given.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if not whole and _NUMBER.fullmatch(text) else None


def _put(read: Any, place: Sequence[int | str], given: object, number: int | float) -> bool:
    """Replace a text at its place. A place in an alternative has the alternative's name in it."""
    holder: Any = None
    last: int | str = ""
    for key in place:
        if isinstance(read, dict):
            inside = key in read
        else:
            inside = isinstance(read, list) and isinstance(key, int) and key < len(read)
        if inside:
            holder, last, read = read, key, read[key]
    if holder is None or read != given:
        return False
    holder[last] = number
    return True
