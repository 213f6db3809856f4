"""The benchmarks of a suite, opened before anything is played."""

from collections.abc import Callable
from typing import TypeVar

from medgym.errors import UserError
from medgym.sources.published import NoLocalCopy
from medgym.suite import Suite

Opened = TypeVar("Opened")


def opened(suite: Suite, open_one: Callable[[str], Opened]) -> dict[str, Opened]:
    """Each benchmark of a suite by its name, opened.

    Args:
        open_one: opens what a spec names.

    Raises:
        UserError: data sets are not here. All that are missing are named, in one line with the
            benchmarks that are here.
    """
    found: dict[str, Opened] = {}
    missing: dict[str, NoLocalCopy] = {}
    for name, spec in suite.benchmarks.items():
        try:
            found[name] = open_one(spec)
        except NoLocalCopy as error:
            if not suite.name:  # cases that were named by themselves
                raise
            missing[name] = error
    if missing:
        raise _without(suite, list(found), missing)
    return found


def _without(suite: Suite, here: list[str], missing: dict[str, NoLocalCopy]) -> UserError:
    count = len(suite.benchmarks)
    sets = dict.fromkeys(error.name for error in missing.values())
    gets = " and ".join(f"medgym cases get {name}" for name in sets)
    rest = f", or play what is here: --only {','.join(here)}" if here else ""
    return UserError(
        f"the suite {suite.name} has {count} benchmark{'s' * (count > 1)}, and there is no copy of "
        f"the data of {', '.join(missing)}; fix: run {gets}{rest}"
    )
