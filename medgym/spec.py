"""The options of a policy's spec: what stands behind its `?`, as in a URL."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from medgym.errors import UserError, unknown


def read_options(
    scheme: str, query: str, kinds: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    """`key=value&...` as values of the given kinds.

    Raises:
        UserError: an unknown key (the nearest one is named), or a value of another kind.
    """
    values: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in kinds:
            raise unknown(f"option of {scheme}:", key, kinds)
        try:
            values[key] = kinds[key](value)
        except ValueError:
            raise UserError(f"{scheme}: {key}={value!r} is not a number; fix: write one") from None
    return values
