"""In what the protocols of two evaluations differ, and where an episode is in the viewer."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

PROTOCOL = (
    "tools", "tool_fidelities", "tool_versions", "max_turns", "view_size", "view_multiple",
    "temperature", "max_tokens", "judge", "prompt",
)  # fmt: skip
"""What of a run's recipe belongs to its protocol."""


def differing_protocol(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """In what the protocols of two runs differ, beside the policy: what each was asked."""
    # No prompt is an empty one in some records, and is left out of others.
    one, other = {"prompt": "", **first}, {"prompt": "", **second}
    return [
        f"{name}: {_text(one.get(name))} and {_text(other.get(name))}"
        for name in PROTOCOL
        if one.get(name) != other.get(name)
    ]


def same_views(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two runs show an image alike, so that other pixels are another image."""
    return _views(first) == _views(second)


def _views(asked: Mapping[str, Any]) -> tuple[Any, Any]:
    rules = asked.get("rollout")  # of a training
    rules = rules if isinstance(rules, Mapping) else asked
    return rules.get("view_size"), rules.get("view_multiple", 1)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("names", [f"{name} {said}" for name, said in value.items()])
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value in (None, "") else str(value)


def episode_address(store: str, case: str) -> str:
    """Where an episode is in the page that `medgym view` writes, from the run's folder on."""
    return f"view/index.html#{urlencode({'store': store, 'find': case})}"
