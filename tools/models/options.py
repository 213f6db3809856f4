"""The checks of options that `detect` and `classify` share."""

from collections.abc import Mapping

from medgym.errors import UserError


def check_told(tool: str, threshold: float, top: int) -> None:
    """Raise `UserError` for a threshold or a number of findings that cannot be."""
    if not 0 <= threshold <= 1:
        raise UserError(f"{tool}: threshold={threshold:g} is no score; fix: give 0 to 1")
    if not 1 <= top <= 100:
        raise UserError(f"{tool}: top={top} is not possible; fix: give 1 to 100")


def share(tool: str, option: str, given: float | None, usual: float) -> float:
    """A share that is given, or the usual one; `UserError` where it cannot be."""
    value = usual if given is None else given
    if not 0 < value <= 1:
        raise UserError(f"{tool}: {option}={value:g} is no share; fix: give more than 0, up to 1")
    return value


def refuse_unused(tool: str, backend: str, given: Mapping[str, object]) -> None:
    """Raise `UserError` for an option that a back end has no use for.

    Args:
        given: such options; one that was not given is None or empty.
    """
    for option, value in given.items():
        if value not in (None, "", "auto"):
            raise UserError(
                f"{tool}?backend={backend} has no use for {option}; fix: remove {option}, or "
                "choose another back end"
            )
