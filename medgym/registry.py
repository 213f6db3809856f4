"""Plug-ins by name: where the folders of the house meet, and where other packages join them.

Everything that medgym ships is registered by entry points in pyproject.toml, in the groups
`medgym.KIND`, exactly as another package would do it. Nothing is imported before it is asked for.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from medgym.asked_to_stop import asked_to_stop
from medgym.errors import RunError, UserError, missing_library, unknown
from medgym.failures import reason_of

KINDS = (
    "tools",
    "tool_sources",
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
    "pair_builders",
    "commands",
)


def singular(kind: str) -> str:
    """One of a kind, in words: `policy` for `policies`, `local model` for `local_models`."""
    one = f"{kind.removesuffix('ies')}y" if kind.endswith("ies") else kind.removesuffix("s")
    return one.replace("_", " ")


@cache
def _group(kind: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Each registered name of a kind, with every entry point that registers it."""
    if kind not in KINDS:
        raise unknown("kind of plug-in", kind, KINDS)
    group: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=f"medgym.{kind}"):
        group[point.name] = (*group.get(point.name, ()), point)
    return group


def names(kind: str) -> tuple[str, ...]:
    """The names registered for one of `KINDS`, sorted."""
    return tuple(sorted(_group(kind)))


def entry_point(kind: str, name: str) -> EntryPoint:
    """What registers `name` in the entry-point group `medgym.KIND`; nothing is imported.

    Raises:
        UserError: the kind or the name is unknown (the nearest one is named), or two packages
            register the name.
    """
    group = _group(kind)
    if name not in group:
        raise unknown(singular(kind), name, group)
    point, *others = group[name]
    if others:
        owners = sorted(each.dist.name if each.dist else each.value for each in group[name])
        raise UserError(
            f"the {singular(kind)} {name!r} is registered by {' and by '.join(owners)}; fix: "
            "uninstall one of them, or have it register another name"
        )
    return point


def _broken(kind: str, point: EntryPoint, error: BaseException) -> RunError:
    return RunError(
        f"the {singular(kind)} {point.name!r} cannot be loaded ({reason_of(error)}); fix: correct "
        f"{point.module}"
    )


def load(kind: str, name: str) -> Any:
    """The object registered as `name` in the entry-point group `medgym.KIND`.

    Raises:
        UserError: as `entry_point`; what it points at does not exist, or a library is missing.
        RunError: its module fails.
    """
    point = entry_point(kind, name)
    lost: Exception
    try:
        return point.load()
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        if not missing or not f"{point.module}.".startswith(f"{error.name}."):
            raise missing_library(error) from error
        lost = error
    except AttributeError as error:
        if error.name != point.attr:  # a fault inside the plug-in
            raise _broken(kind, point, error) from error
        lost = error
    except BaseException as error:  # a module runs whatever it likes, `sys.exit` too
        if isinstance(error, UserError | RunError) or asked_to_stop(error):
            raise
        raise _broken(kind, point, error) from error
    raise UserError(
        f"the {singular(kind)} {name!r} points at {point.value!r}, which does not exist; "
        "fix: reinstall the package that registers it"
    ) from lost
