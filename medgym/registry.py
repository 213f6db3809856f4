"""Plug-ins by name: where the folders of the house meet, and where a stranger's plug-in joins them.

Everything that medgym ships is registered by entry points in pyproject.toml, in the groups
`medgym.KIND`, exactly as another package would do it. Nothing is imported before it is asked for.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from medgym.errors import UserError, missing_extra, unknown

KINDS = (
    "tools",
    "policies",
    "roles",
    "sources",
    "rubrics",
    "scorers",
    "judges",
    "suites",
    "recipes",
    "models",
    "local_models",
    "commands",
)


@cache
def _group(kind: str) -> dict[str, EntryPoint]:
    if kind not in KINDS:
        raise unknown("kind of plug-in", kind, KINDS)
    return {point.name: point for point in entry_points(group=f"medgym.{kind}")}


def names(kind: str) -> tuple[str, ...]:
    """The names registered for one of `KINDS`, sorted."""
    return tuple(sorted(_group(kind)))


def load(kind: str, name: str) -> Any:
    """The object registered as `name` in the entry-point group `medgym.KIND`.

    Raises:
        UserError: unknown kind or name (the nearest one is named), what the name points at does not
            exist, or an optional library is missing.
    """
    group = _group(kind)
    if name not in group:
        raise unknown(kind.removesuffix("s").replace("policie", "policy"), name, group)
    point = group[name]
    lost: Exception
    try:
        return point.load()
    except ModuleNotFoundError as error:
        if error.name != point.module and not point.module.startswith(f"{error.name}."):
            raise missing_extra("train", error) from error
        lost = error
    except AttributeError as error:
        if error.name != point.attr:
            raise  # a fault inside the plug-in
        lost = error
    raise UserError(
        f"the plug-in {name!r} of medgym.{kind} points at {point.value!r}, which does not exist; "
        "fix: reinstall the package that registers it"
    ) from lost
